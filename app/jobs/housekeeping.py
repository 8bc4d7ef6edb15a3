"""The small loop beside the API: tell the broker of queued jobs, take jobs back from the dead.

Any number of processes may run it; what they do twice is harmless, as claiming a job is
compare-and-set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.jobs import repository
from app.jobs.state import Status
from app.jobs.tables import Job, OutboxEntry
from app.kit.broker import QUEUE, RUN_JOB, celery_app
from app.kit.context import Context
from app.kit.db import database_now

_log = structlog.get_logger(__name__)
_ONE_RETRY = {"max_retries": 1, "interval_start": 0}  # on a new connection; the loop does the rest


def relay(context: Context, send: Callable[[str], None]) -> int:
    """Send each queued job that the broker does not know of, or was told of long ago.

    Sent first, noted after: a crash in between sends it twice, never not at all. Raises what
    `send` raises; what was sent before that stays noted. Returns how many were sent.
    """
    with context.database.read() as session:
        old = database_now(session) - timedelta(seconds=context.settings.resend_seconds)
        due = session.scalars(
            select(OutboxEntry.job_id)
            .where(or_(OutboxEntry.sent_at.is_(None), OutboxEntry.sent_at < old))
            .order_by(OutboxEntry.job_id)
        ).all()
    for job_id in due:
        send(job_id)
        with context.database.write() as session:
            session.execute(
                update(OutboxEntry)
                .where(OutboxEntry.job_id == job_id)
                .values(sent_at=database_now(session))
            )
    return len(due)


def reap(context: Context) -> int:
    """Take back the jobs whose worker let its lease run out; returns how many.

    They go back to the queue, or fail after too many attempts, or are cancelled if that was
    asked for.
    """
    with context.database.read() as session:
        expired = session.scalars(
            select(Job.id).where(Job.lease_expires_at < database_now(session))
        ).all()
    return sum(_take_back(context, job_id) for job_id in expired)


def _take_back(context: Context, job_id: str) -> bool:
    target: Status
    values: dict[str, Any]
    with context.database.write() as session:
        # Looked at again, and locked: the worker may have renewed or ended it in the meantime.
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is None or job.lease_expires_at is None:
            return False
        if job.lease_expires_at >= database_now(session):
            return False
        if job.status == Status.CANCELLING:
            target, values = Status.CANCELLED, {}
        elif job.attempt >= context.settings.max_attempts:
            target, values = Status.FAILED, {"error": _worker_lost(job.attempt)}
        else:
            target, values = Status.QUEUED, {"progress": None}
        taken = repository.move(session, job_id, target, values=values)
    if taken:
        _log.warning("a worker was lost", job_id=job_id, attempt=job.attempt, now=str(target))
    return taken


def _worker_lost(attempts: int) -> dict[str, Any]:
    return {
        "code": "worker_lost",
        "message": f"The worker died {attempts} times while it worked on this job. Most often it "
        "ran out of memory: lower `augment_views` or the number of images, or give it more.",
        "param": None,
        "problems": [],
    }


class Housekeeper:
    """Runs relay and reap in a thread until stopped; `wake` makes it look at once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._celery: Celery | None = (
            celery_app(context.settings) if context.settings.broker_url else None
        )
        self._wake = threading.Event()
        self._stopping = False
        self._failing = False
        self._thread = threading.Thread(target=self._loop, name="housekeeping", daemon=True)

    def start(self) -> None:
        if self._celery is None:
            _log.warning("DSPT_BROKER_URL is not set: jobs stay queued; `dspt serve` sets it")
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join()
        if self._celery is not None:
            self._celery.close()

    def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._round()
            except (SQLAlchemyError, BrokerError, OSError) as error:
                if not self._failing:  # say it once, not each second
                    _log.error("database or broker does not answer; will try on", error=str(error))
                self._failing = True
            else:
                if self._failing:
                    _log.info("database and broker answer again")
                self._failing = False
            self._wake.wait(self._context.settings.housekeeping_seconds)

    def _round(self) -> None:
        reap(self._context)
        if self._celery is not None:
            relay(self._context, self._send)

    def _send(self, job_id: str) -> None:
        assert self._celery is not None
        self._celery.send_task(RUN_JOB, args=[job_id], queue=QUEUE, retry_policy=_ONE_RETRY)
