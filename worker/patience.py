"""Repeat a step while the database or the storage is unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import structlog

from app.kit.db import UNAVAILABLE
from app.kit.storage import StorageUnavailable

_log = structlog.get_logger(__name__)
T = TypeVar("T")

#: A restart of the database takes seconds, a failover up to some minutes. Meanwhile no other
#: worker can take the job, because that needs the database too.
PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 1.0


def patiently(step: Callable[[], T]) -> T:
    """Return what `step` returns; repeat it for up to PATIENCE_SECONDS.

    `step` must be safe to repeat: its first run may have been committed. Raises what it raises;
    that the database (`UNAVAILABLE`) or a bucket does not answer, only after that time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step()
        except (*UNAVAILABLE, StorageUnavailable) as error:
            if time.monotonic() > deadline:
                raise
            part = "storage" if isinstance(error, StorageUnavailable) else "database"
            _log.warning(f"the {part} does not answer; retrying", error=str(error))
            time.sleep(_PAUSE_SECONDS)


@contextmanager
def entered_patiently(make: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    """Enter what `make` returns, as `patiently` would; leave it at the end."""
    with ExitStack() as stack:
        yield patiently(lambda: stack.enter_context(make()))
