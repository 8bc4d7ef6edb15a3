"""The heartbeat of the worker, written by its parent process."""

from __future__ import annotations

import os
import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.lifecycle import workers
from app.kit.db import Database
from app.kit.ids import new_id
from app.kit.settings import Settings

_log = structlog.get_logger(__name__)


class WorkerHeartbeat:
    """Writes heartbeats in a thread. Forked processes share `worker_id`."""

    def __init__(self, settings: Settings) -> None:
        self.worker_id = new_id("wrk")
        self._settings = settings
        self._stopping = threading.Event()
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)
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
        self._report()
        self._thread.start()

    def stopping(self) -> None:
        """Ask the running job to return to the queue. Safe in a signal handler."""
        self._stopping.set()

    def leave(self) -> None:
        """Stop reporting and delete the worker's row."""
        self._stopping.set()
        self._gone.set()
        if self._thread.is_alive():
            self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.wait(self._settings.heartbeat_seconds):
            self._report()
        self._report()  # at once: the running job polls for it
        while not self._gone.wait(self._settings.heartbeat_seconds):
            self._report()
        self._report()

    def _report(self) -> None:
        with self._reporting:
            database = Database(self._settings.database_url)  # connections do not survive a fork
            try:
                with database.write() as session:
                    if self._gone.is_set():
                        workers.leave(session, self.worker_id)
                    else:
                        stopping = self._stopping.is_set()
                        workers.report(session, self.worker_id, stopping=stopping)
            except SQLAlchemyError as error:
                _log.warning("cannot write heartbeat; retrying", error=str(error))
            finally:
                database.close()
