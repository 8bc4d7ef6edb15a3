"""Run garbage collection in the background of the API."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import structlog

from app.gc.service import collect
from app.kit.background_loop import Loop
from app.kit.context import Context
from app.kit.db import Database

_log = structlog.get_logger(__name__)
_STATEMENT_SECONDS = 60.0


class Collector:
    """Its own thread, because listing a large storage takes long."""

    def __init__(self, context: Context) -> None:
        # A statement that deletes many rows takes longer than one of a request.
        self._database = Database(
            context.settings.database_url, pool_size=2, seconds=_STATEMENT_SECONDS
        )
        self._context = replace(context, database=self._database)
        self._waiting = True
        self.loop = Loop("garbage collection", self._round, context.settings.gc_seconds)

    def close(self) -> None:
        """End a round that still waits for the database."""
        self._database.abort()
        self._database.close()

    def _round(self) -> None:
        # Not at the start: a wrong setting shows within the first hour, before it costs files.
        if self._waiting:
            self._waiting = False
            return
        counts: Counter[str] = Counter()
        for finding in collect(self._context):
            counts[finding.kind.name.lower()] += finding.count
        if counts:
            _log.info("garbage collected", **counts)
