"""Run garbage collection in the background of the API."""

from __future__ import annotations

from collections import Counter

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.gc.files import TooMuchGarbageError
from app.gc.service import collect
from app.kit.background_loop import Loop
from app.kit.context import Context

_log = structlog.get_logger(__name__)


class Collector:
    """Its own thread, because listing a large storage takes long."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting = True
        self._loop = Loop(
            "garbage collection",
            self._round,
            context.settings.gc_seconds,
            (SQLAlchemyError, OSError, TooMuchGarbageError),
        )
        self.start, self.stop = self._loop.start, self._loop.stop

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
