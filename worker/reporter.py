"""Write events and progress to the database, and read whether to stop."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from app.jobs.lifecycle.lease import JobLease
from app.kit.db import UNAVAILABLE
from app.leased.lease import Lease
from dspt.kit.progress import Listener, Progress
from worker import patience
from worker.jsonable import jsonable
from worker.patience import patiently

_log = structlog.get_logger(__name__)
_REPORT_SECONDS = 0.5  # two transactions a second make a smooth bar and no load
_STOP_POLL_SECONDS = 0.1
_SILENT_POLL_SECONDS = 2.0  # each try may take as long as a statement may


class Reporter(Listener):
    """Buffers events and writes them twice a second, with only the newest progress.

    Also provides `should_stop`, which reads the database at most ten times a second. While the
    database is unavailable the job goes on, for up to PATIENCE_SECONDS: its lease is still there.
    """

    def __init__(self, lease: JobLease, time_limit: float) -> None:
        self._lease = lease
        self._lock = threading.Lock()
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._progress: dict[str, Any] | None = None
        self._stage: str | None = None
        self._warnings: list[str] = []
        self._written = self._polled = float("-inf")
        self._deadline = time.monotonic() + time_limit
        self._stop = False
        self._silent_since: float | None = None

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
            patiently(self._send)

    def should_stop(self) -> bool:
        """Return whether to stop: cancelled, shutting down, lease lost, or out of time."""
        with self._lock:
            now = time.monotonic()
            if not self._stop and now - self._polled >= self._pause(_STOP_POLL_SECONDS):
                self._polled = now
                with self._tolerance():
                    request = self._lease.stop_request()
                    self._stop = request.cancel or request.release or request.lost
                self._stop = self._stop or self.out_of_time
                if not self._stop:
                    self._write(at_once=False)
            return self._stop

    def _write(self, *, at_once: bool) -> None:
        """Write what is buffered, unless that was done just now; keep it if that fails."""
        if not at_once and time.monotonic() - self._written < self._pause(_REPORT_SECONDS):
            return
        self._written = time.monotonic()
        with self._tolerance():
            self._send()

    def _send(self) -> None:
        events = self._events
        if self._progress is not None:
            events = [*events, ("progress", self._progress)]
        if events:
            self._lease.report(events, progress=self._progress, warnings=self._warnings)
            self._events, self._progress = [], None

    def _pause(self, seconds: float) -> float:
        """Return the seconds between two tries; more while the database does not answer."""
        return seconds if self._silent_since is None else _SILENT_POLL_SECONDS

    @contextmanager
    def _tolerance(self) -> Iterator[None]:
        """Suppress errors of a database that is unavailable, until patience ends."""
        try:
            yield
        except UNAVAILABLE as error:
            now = time.monotonic()
            if self._silent_since is None:
                self._silent_since = now
                _log.warning("the database does not answer; the job goes on", error=str(error))
            elif now - self._silent_since > patience.PATIENCE_SECONDS:
                raise
        else:
            self._silent_since = None


@contextmanager
def renew_lease(lease: Lease[Any], seconds: float) -> Iterator[None]:
    """Renew the lease in a thread while the block runs."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(seconds):
            try:
                if not lease.renew():
                    return  # lost, or ended; `should_stop` notices
            except Exception as error:  # noqa: BLE001 - the job may go on only while this thread does
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
