"""A worker's lease on one job: claimed by compare-and-set, renewed during work, then released.

Every write requires the lease, so a worker that was considered dead and comes back changes nothing.
A lease has no expiry time, because clocks differ and jump: the reaper monitors whether it is still
renewed (app.jobs.lifecycle.heartbeat_monitor).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.jobs import repository
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.ids import new_id
from app.tables.jobs import Job, Worker
from app.tables.models import Model


class StepRefusedError(Exception):
    """The lease is lost, or the job is to be cancelled; `Lease.stop_request` tells which."""


@dataclass(frozen=True)
class StopRequest:
    """Reasons to stop a running job."""

    cancel: bool
    """Cancellation was requested."""
    release: bool
    """The worker is shutting down: return the job to the queue."""
    lost: bool
    """The lease is lost."""


@dataclass(frozen=True)
class Lease:
    """A claim on one job; `owner` is a new random id for each claim."""

    context: Context
    job_id: str
    owner: str
    worker_id: str

    @classmethod
    def claim_next(cls, context: Context, worker_id: str) -> Lease | None:
        """Claim the queued job whose turn it is; return None if no job is queued."""
        while True:
            with context.database.read() as session:
                job_id = repository.next_queued(session)
            if job_id is None:
                return None
            lease = cls.claim(context, job_id, worker_id)
            if lease is not None:  # else another worker was faster, or the job was cancelled
                return lease

    @classmethod
    def claim(cls, context: Context, job_id: str, worker_id: str) -> Lease | None:
        """Claim a queued job; return None if it is no longer queued, which is no error."""
        owner = new_id("lease")
        with context.database.write() as session:
            now = database_now(session)
            taken = repository.move(
                session,
                job_id,
                Status.VALIDATING,
                values={
                    "lease_owner": owner,
                    "lease_renewed_at": now,
                    "attempt": Job.attempt + 1,
                    "started_at": func.coalesce(Job.started_at, now),
                    "progress": None,
                    "dataset_report": None,
                    "warnings": [],
                },
            )
        return cls(context, job_id, owner, worker_id) if taken else None

    def renew(self) -> bool:
        """Renew the lease; return False if it is lost."""
        with self.context.database.write() as session:
            return self._update(session, lease_renewed_at=database_now(session))

    def stop_request(self) -> StopRequest:
        """Read from the database whether to stop, and why."""
        with self.context.database.read() as session:
            row = session.execute(
                select(Job.status, Job.lease_owner).where(Job.id == self.job_id)
            ).one_or_none()
            stopping = session.scalar(select(Worker.stopping).where(Worker.id == self.worker_id))
        lost = row is None or row.lease_owner != self.owner
        return StopRequest(
            cancel=row is not None and row.status == Status.CANCELLING,
            release=bool(stopping),
            lost=lost,
        )

    def start_running(self, dataset_report: Mapping[str, Any]) -> None:
        """Move from validating to running; may be repeated. Raises StepRefusedError."""
        with self.context.database.write() as session:
            held = select(Job.status).where(Job.id == self.job_id, Job.lease_owner == self.owner)
            if session.scalar(held) != Status.RUNNING:
                self._move(session, Status.RUNNING, {"dataset_report": dict(dataset_report)})

    def report(
        self,
        events: Sequence[tuple[str, Mapping[str, Any]]],
        *,
        progress: Mapping[str, Any] | None,
        warnings: Sequence[str],
    ) -> None:
        """Append events and update the job's progress in one transaction."""
        with self.context.database.write() as session:
            values: dict[str, Any] = {"warnings": list(warnings)}
            if progress is not None:
                values["progress"] = dict(progress)
            if not self._update(session, **values):
                raise StepRefusedError(self.job_id)
            for type_, data in events:
                repository.add_event(session, self.job_id, type_, data)

    def succeed(
        self,
        model: Model,
        *,
        config: Mapping[str, Any],
        metrics: Mapping[str, Any],
        audit_key: str,
        predictions_key: str | None = None,
        change: Mapping[str, Any] | None = None,
        health: Mapping[str, Any] | None = None,
    ) -> None:
        """Move from running to succeeded and add the model; may be repeated.

        Raises StepRefusedError.
        """
        values = {
            "config": dict(config),
            "metrics": dict(metrics),
            "audit_key": audit_key,
            "predictions_key": predictions_key,
            "change": change and dict(change),
            "health": health,
        }
        with self.context.database.write() as session:
            if session.scalar(select(Model.id).where(Model.id == model.id)) is None:
                self._move(session, Status.SUCCEEDED, values)
                session.add(model)

    def fail(self, error: Mapping[str, Any], health: Mapping[str, Any] | None = None) -> None:
        """Move from validating or running to failed. Raises StepRefusedError.

        health: the report, if the data set was refused.
        """
        with self.context.database.write() as session:
            self._move(session, Status.FAILED, {"error": dict(error), "health": health})

    def cancelled(self) -> None:
        """Move from cancelling to cancelled. Raises StepRefusedError."""
        with self.context.database.write() as session:
            self._move(session, Status.CANCELLED, {})

    def release(self) -> None:
        """Return the job to the queue; this claim does not count as an attempt."""
        with self.context.database.write() as session:
            self._move(session, Status.QUEUED, {"attempt": Job.attempt - 1, "progress": None})

    def _move(self, session: Session, target: Status, values: Mapping[str, Any]) -> None:
        if not repository.move(session, self.job_id, target, owner=self.owner, values=values):
            raise StepRefusedError(self.job_id)

    def _update(self, session: Session, **values: Any) -> bool:
        query = update(Job).where(Job.id == self.job_id, Job.lease_owner == self.owner)
        found = session.execute(query.values(values).returning(Job.id))
        return found.one_or_none() is not None
