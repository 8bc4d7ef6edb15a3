"""Requeue the jobs and batches of dead workers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import structlog
from dspt_client.schemas.status import Status
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.jobs import repository
from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.kit.context import Context
from app.kit.settings import Settings
from app.tables.batches import Batch
from app.tables.job_state import LEASED
from app.tables.jobs import Job

_log = structlog.get_logger(__name__)

#: Owner of a lease, and time of its last renewal.
_Lease = tuple[str | None, datetime | None]


class Reaper:
    """Monitor leases. Any number of processes may run it; each relies on its own observations.

    `table`: its rows have a status and a lease; `requeue` moves a row whose lease lapsed, and
    returns its new state, or None if it could not be moved. Default: jobs.
    """

    def __init__(
        self,
        context: Context,
        table: type[Job] | type[Batch] = Job,
        leased: Collection[str] = LEASED,
        requeue: Callable[[Session, Settings, Any], str | None] | None = None,
    ) -> None:
        self._context = context
        self._table: Any = table
        self._leased = sorted(leased)
        self._requeue = requeue or requeue_job
        self._monitor = HeartbeatMonitor[_Lease](2 * context.settings.housekeeping_seconds)

    def reap(self) -> int:
        """Take back the rows whose lease is no longer renewed; return their number."""
        table = self._table
        with self._context.database.read() as session:
            query = select(table.id, table.lease_owner, table.lease_renewed_at)
            rows = session.execute(query.where(table.status.in_(self._leased))).all()
        leases = {id_: (owner, renewed) for id_, owner, renewed in rows}
        silent_for = self._monitor.update(leases.items())
        return sum(
            self._take_back(id_, lease)
            for id_, lease in leases.items()
            if silent_for[id_] >= self._context.settings.lease_seconds
        )

    def _take_back(self, id_: str, lease: _Lease) -> bool:
        with self._context.database.write() as session:
            # Read again under a lock: the worker may have renewed or ended it in the meantime.
            row = session.scalar(select(self._table).where(self._table.id == id_).with_for_update())
            if row is None or (row.lease_owner, row.lease_renewed_at) != lease:
                return False
            attempt = row.attempt
            target = self._requeue(session, self._context.settings, row)
        if target is not None:
            _log.warning("worker lost", job_id=id_, attempt=attempt, now=target)
        return target is not None


def requeue_job(session: Session, settings: Settings, job: Job) -> str | None:
    """Queue a job again whose worker is dead; return its new state.

    It fails after too many attempts, and is cancelled if cancellation was requested. An attempt
    that got further than all before it does not count.
    """
    target: Status
    values: dict[str, Any]
    if job.status == Status.CANCELLING:
        target, values = Status.CANCELLED, {}
    elif repository.made_progress(session, job.id):
        # A restart of the machine, say: the job itself does not kill its worker.
        target, values = Status.QUEUED, {"progress": None, "attempt": Job.attempt - 1}
    elif job.attempt >= settings.max_attempts:
        target, values = Status.FAILED, {"error": _worker_lost(job.attempt)}
    else:
        target, values = Status.QUEUED, {"progress": None}
    return target if repository.move(session, job.id, target, values=values) else None


def _worker_lost(attempts: int) -> dict[str, Any]:
    return {
        "code": "worker_lost",
        "message": f"The worker stopped responding {attempts} times while it ran this job, each "
        "time before a further epoch was complete. Its log, or that of its machine, has the "
        "reason. If memory ran out, lower `augment_views` or the number of images.",
        "param": None,
        "problems": [],
    }
