"""Collects beside the API, every hour or as often as the settings say."""

from __future__ import annotations

from collections import Counter

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.gc.service import collect
from app.kit.background_loop import Loop
from app.kit.context import Context

_log = structlog.get_logger(__name__)


class Collector:
    """A thread of its own: a large storage takes long to list, and housekeeping must not wait."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._loop = Loop(
            "garbage collection",
            self._round,
            context.settings.gc_seconds,
            (SQLAlchemyError, OSError),
        )
        self.start, self.stop = self._loop.start, self._loop.stop

    def _round(self) -> None:
        counts: Counter[str] = Counter()
        for finding in collect(self._context):
            counts[finding.kind.name.lower()] += finding.count
        if counts:
            _log.info(
                "deleted what is not needed", **{k.replace(" ", "_"): n for k, n in counts.items()}
            )
