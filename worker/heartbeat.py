"""The heartbeat of the worker, written by its parent process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.jobs.lifecycle import workers
from app.kit.background_loop import Loop
from app.kit.db import Database
from app.kit.ids import new_id
from app.kit.settings import Settings

_log = structlog.get_logger(__name__)


class WorkerHeartbeat:
    """Writes heartbeats in a thread. Forked processes share `worker_id`."""

    def __init__(self, settings: Settings) -> None:
        self.worker_id = new_id("wrk")
        self._settings = settings
        self._stopping = False
        self.loop = Loop("heartbeat", self._report, settings.heartbeat_seconds)
        # SQLite keeps its locks in process memory: a process forked during a report would inherit
        # them, and find the database locked forever.
        self._reporting = threading.Lock()
        os.register_at_fork(
            before=self._reporting.acquire,
            after_in_parent=self._reporting.release,
            after_in_child=self._reporting.release,
        )

    def start(self) -> None:
        """Report now, and then regularly."""
        self.loop.start()

    def stopping(self) -> None:
        """Ask the running job to return to the queue. Safe in a signal handler."""
        self._stopping = True
        self.loop.wake()  # the running job polls for it

    def leave(self) -> None:
        """Stop reporting and delete the worker's row."""
        self.loop.stop()
        try:
            self._write(lambda session: workers.leave(session, self.worker_id))
        except SQLAlchemyError as error:
            _log.warning("cannot delete this worker's row", error=str(error))

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Yield the database, opened anew; no process is forked meanwhile."""
        with self._reporting:
            database = Database(self._settings.database_url)  # connections do not survive a fork
            try:
                yield database
            finally:
                database.close()

    def _report(self) -> None:
        pool, stopping = self._settings.worker_pool, self._stopping
        self._write(
            lambda session: workers.report(session, self.worker_id, pool=pool, stopping=stopping)
        )

    def _write(self, change: Callable[[Session], None]) -> None:
        with self.database() as database, database.write() as session:
            change(session)
