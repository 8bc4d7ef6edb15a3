"""Write events and progress to the database, and read whether to stop."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.lifecycle.lease import Lease
from dspt.kit.progress import Listener, Progress
from worker.jsonable import jsonable

_log = structlog.get_logger(__name__)
_REPORT_SECONDS = 0.5  # two transactions a second make a smooth bar and no load
_STOP_POLL_SECONDS = 0.1


class Reporter(Listener):
    """Buffers events and writes them twice a second, with only the newest progress.

    Also provides `should_stop`, which reads the database at most ten times a second.
    """

    def __init__(self, lease: Lease, time_limit: float) -> None:
        self._lease = lease
        self._lock = threading.Lock()
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._progress: dict[str, Any] | None = None
        self._stage: str | None = None
        self._warnings: list[str] = []
        self._written = self._polled = float("-inf")
        self._deadline = time.monotonic() + time_limit
        self._stop = False

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() > self._deadline

    def progress(self, progress: Progress) -> None:
        with self._lock:
            self._progress = {
                "stage": progress.stage,
                "epoch": progress.epoch,
                "epochs": progress.epochs,
                "fraction": round(progress.fraction, 4),
                "eta_seconds": jsonable(progress.eta_seconds),
            }
            changed, self._stage = progress.stage != self._stage, progress.stage
            self._write(at_once=changed)

    def metrics(self, metrics: dict[str, float]) -> None:
        with self._lock:
            self._events.append(("metrics", jsonable(metrics)))
            self._write(at_once=False)

    def warning(self, text: str) -> None:
        with self._lock:
            self._warnings.append(jsonable(text))
            self._events.append(("warning", {"message": self._warnings[-1]}))
            self._write(at_once=False)

    def flush(self) -> None:
        """Write buffered events. Raises StepRefusedError if the lease is lost."""
        with self._lock:
            self._write(at_once=True)

    def should_stop(self) -> bool:
        """Return whether to stop: cancelled, shutting down, lease lost, or out of time."""
        with self._lock:
            now = time.monotonic()
            if not self._stop and now - self._polled >= _STOP_POLL_SECONDS:
                request = self._lease.stop_request()
                self._stop = request.cancel or request.release or request.lost or self.out_of_time
                self._polled = now
                if not self._stop:
                    self._write(at_once=False)
            return self._stop

    def _write(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if not at_once and now - self._written < _REPORT_SECONDS:
            return
        events = self._events
        if self._progress is not None:
            events = [*events, ("progress", self._progress)]
        if events:
            self._lease.report(events, progress=self._progress, warnings=self._warnings)
            self._events, self._progress = [], None
        self._written = now


@contextmanager
def renew_lease(lease: Lease, seconds: float) -> Iterator[None]:
    """Renew the lease in a thread while the block runs."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(seconds):
            try:
                if not lease.renew():
                    return  # lost, or ended; `should_stop` notices
            except SQLAlchemyError as error:
                _log.warning("cannot renew the lease; retrying", error=str(error))

    # Keeps the ids of the job in its log lines.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=[renew], name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
