"""Record when each API key was last used."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import structlog
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from app.kit.db import Database
from app.tables.access import ApiKey

_log = structlog.get_logger(__name__)
#: A key's use is written at most once in this time by each process.
_SECONDS = 60.0


class LastUses:
    """Writes uses on a thread of its own, so that no request waits for it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}
        self._pending: set[str] = set()
        # One thread: while the database does not answer, further uses wait in `_pending`.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="last uses")

    def note(self, key_id: str) -> None:
        """Record that a key is used now."""
        now = time.monotonic()
        if now - self._noted.get(key_id, -_SECONDS) < _SECONDS:
            return
        with self._lock:
            self._noted[key_id] = now
            first = not self._pending
            self._pending.add(key_id)
        if first:
            self._thread.submit(self._write)

    def close(self) -> None:
        """Wait until everything is written."""
        self._thread.shutdown()

    def _write(self) -> None:
        with self._lock:
            key_ids, self._pending = self._pending, set()
        used = update(ApiKey).where(ApiKey.id.in_(key_ids)).values(last_used_at=datetime.now(UTC))
        try:
            with self._database.write() as session:
                session.execute(used)
        except SQLAlchemyError as error:  # a date is not worth a failed request
            _log.warning("last use of keys not recorded", keys=len(key_ids), error=str(error))
