"""Record when API keys and sessions were last used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import structlog
from cachetools import TTLCache
from sqlalchemy import Update
from sqlalchemy.exc import SQLAlchemyError

from app.kit.db import Database

_log = structlog.get_logger(__name__)
#: A use is written at most once in this time by each process.
_SECONDS = 60.0
_MOST = 10_000


class LastUses:
    """Writes uses on a thread of its own, so that no request waits for it.

    `used` returns the statement that records the use of some keys, or some sessions.
    """

    def __init__(
        self,
        database: Database,
        used: Callable[[Collection[str]], Update],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._used = database, used
        self._lock = threading.Lock()
        self._noted: TTLCache[str, bool] = TTLCache(_MOST, _SECONDS, clock)
        self._pending: set[str] = set()
        # One thread: while the database does not answer, further uses wait in `_pending`.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="last uses")

    def note(self, used: str) -> None:
        """Record that a key or a session is used now."""
        if used in self._noted:
            return
        with self._lock:
            self._noted[used] = True
            first = not self._pending
            self._pending.add(used)
        if first:
            self._thread.submit(self._write)

    def close(self) -> None:
        """Wait until everything is written."""
        self._thread.shutdown()

    def _write(self) -> None:
        with self._lock:
            found, self._pending = self._pending, set()
        try:
            with self._database.write() as session:
                session.execute(self._used(found))
        except SQLAlchemyError as error:  # a date is not worth a failed request
            _log.warning("last uses not recorded", number=len(found), error=str(error))
