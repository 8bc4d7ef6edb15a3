"""Requeue the jobs of dead workers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from dspt_client.schemas.status import Status
from sqlalchemy import select

from app.jobs import repository
from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.kit.context import Context
from app.tables.job_state import LEASED
from app.tables.jobs import Job

_log = structlog.get_logger(__name__)

#: Owner of a lease, and time of its last renewal.
_Lease = tuple[str | None, datetime | None]


class Reaper:
    """Monitor leases. Any number of processes may run it; each relies on its own observations."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._monitor = HeartbeatMonitor[_Lease](2 * context.settings.housekeeping_seconds)

    def reap(self) -> int:
        """Take back the jobs whose lease is no longer renewed; return their number.

        Such a job is queued again, fails after too many attempts, or is cancelled if cancellation
        was requested. An attempt that got further than all before it does not count.
        """
        with self._context.database.read() as session:
            query = select(Job.id, Job.lease_owner, Job.lease_renewed_at)
            rows = session.execute(query.where(Job.status.in_(sorted(LEASED)))).all()
        leases = {job_id: (owner, renewed) for job_id, owner, renewed in rows}
        silent_for = self._monitor.update(leases.items())
        return sum(
            self._take_back(job_id, lease)
            for job_id, lease in leases.items()
            if silent_for[job_id] >= self._context.settings.lease_seconds
        )

    def _take_back(self, job_id: str, lease: _Lease) -> bool:
        target: Status
        values: dict[str, Any]
        with self._context.database.write() as session:
            # Read again under a lock: the worker may have renewed or ended it in the meantime.
            job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
            if job is None or (job.lease_owner, job.lease_renewed_at) != lease:
                return False
            if job.status == Status.CANCELLING:
                target, values = Status.CANCELLED, {}
            elif repository.made_progress(session, job_id):
                # A restart of the machine, say: the job itself does not kill its worker.
                target, values = Status.QUEUED, {"progress": None, "attempt": Job.attempt - 1}
            elif job.attempt >= self._context.settings.max_attempts:
                target, values = Status.FAILED, {"error": _worker_lost(job.attempt)}
            else:
                target, values = Status.QUEUED, {"progress": None}
            taken = repository.move(session, job_id, target, values=values)
        if taken:
            _log.warning("worker lost", job_id=job_id, attempt=job.attempt, now=str(target))
        return taken


def _worker_lost(attempts: int) -> dict[str, Any]:
    return {
        "code": "worker_lost",
        "message": f"The worker stopped responding {attempts} times while it ran this job, each "
        "time before a further epoch was complete. Its log, or that of its machine, has the "
        "reason. If memory ran out, lower `augment_views` or the number of images.",
        "param": None,
        "problems": [],
    }
