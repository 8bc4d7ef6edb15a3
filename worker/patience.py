"""Repeat a step on the database while the database is unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from app.kit.db import UNAVAILABLE

_log = structlog.get_logger(__name__)
T = TypeVar("T")

#: A restart of the database takes seconds, a failover up to some minutes. Meanwhile no other
#: worker can take the job, because that needs the database too.
PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 1.0


def patiently(step: Callable[[], T]) -> T:
    """Return what `step` returns; repeat it for up to PATIENCE_SECONDS.

    `step` must be safe to repeat: its first run may have been committed. Raises what it raises, an
    error of the database (`UNAVAILABLE`) only after that time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step()
        except UNAVAILABLE as error:
            if time.monotonic() > deadline:
                raise
            _log.warning("the database does not answer; retrying", error=str(error))
            time.sleep(_PAUSE_SECONDS)
