"""Run garbage collection in the background of the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import structlog

from app.gc.findings import Finding
from app.gc.service import collect, collect_local
from app.kit.background_loop import Loop
from app.kit.context import Context
from app.kit.db import Database

_log = structlog.get_logger(__name__)
_STATEMENT_SECONDS = 60.0


class Collector:
    """Threads of their own, because listing a large storage takes long."""

    def __init__(self, context: Context) -> None:
        # A statement that deletes many rows takes longer than one of a request.
        self._database = Database(
            context.settings.database_url, pool_size=2, seconds=_STATEMENT_SECONDS
        )
        own = replace(context, database=self._database)
        seconds = context.settings.gc_seconds
        shared = _Round(partial(collect, own, local=False))
        self.loop = Loop("garbage collection", shared, seconds)
        #: The leader cannot delete what is on the disks of other machines.
        self.local_loop = Loop(
            "local garbage collection", _Round(partial(collect_local, own)), seconds
        )

    def close(self) -> None:
        """End rounds that still wait for the database."""
        self._database.abort()
        self._database.close()


class _Round:
    """Collect garbage and log what it was."""

    def __init__(self, work: Callable[[], Iterator[Finding]]) -> None:
        self._work = work
        self._waiting = True

    def __call__(self) -> None:
        # Not at the start: a wrong setting shows within the first hour, before it costs files.
        if self._waiting:
            self._waiting = False
            return
        counts: Counter[str] = Counter()
        for finding in self._work():
            counts[finding.kind.name.lower()] += finding.count
        if counts:
            _log.info("garbage collected", **counts)
