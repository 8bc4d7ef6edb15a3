"""End the worker once it has had no work for some time, as a Kubernetes Job has to."""

from __future__ import annotations

import os
import time

import structlog
from celery.worker import state

from app.jobs.lifecycle.queued import queued_by_pool
from app.kit.background_loop import Loop
from worker.heartbeat import WorkerHeartbeat

_log = structlog.get_logger(__name__)


class IdleExit:
    """Ends Celery's parent process, with status 0, after `seconds` without work.

    A job that arrives at that very moment still runs to its end.
    """

    def __init__(self, seconds: float, pool: str, heartbeat: WorkerHeartbeat) -> None:
        self._seconds, self._pool, self._heartbeat = seconds, pool, heartbeat
        self._taken = 0
        self._since = time.monotonic()
        self._loop = Loop("idle", self._check, min(1.0, seconds / 4))

    def start(self, **_: object) -> None:
        """Start to count; a receiver of Celery's signal `worker_ready`."""
        self._since = time.monotonic()
        self._loop.start()

    def _check(self) -> None:
        taken = state.all_total_count[0]
        if state.reserved_requests or taken != self._taken:
            self._taken, self._since = taken, time.monotonic()
        elif time.monotonic() - self._since >= self._seconds:
            self._end()

    def _end(self) -> None:
        with self._heartbeat.database() as database, database.read() as session:
            waiting = queued_by_pool(session)[self._pool]
        if waiting:  # its message is on the way
            self._since = time.monotonic()
            return
        _log.info("no work: the worker ends", seconds=self._seconds)
        self._loop.request_stop()
        state.should_stop = os.EX_OK
