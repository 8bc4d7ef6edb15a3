"""A worker's hold on one job: taken by compare-and-set, renewed while it works, then given up.

Every write demands the lease, so a worker that was thought dead and comes back changes nothing.
A lease has no time at which it ends, as clocks differ and jump: housekeeping watches whether it is
still renewed (app.jobs.lifecycle.heartbeat_monitor).
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
    """What the outside wants of a running job."""

    cancel: bool
    """Somebody asked to cancel it."""
    release: bool
    """The worker is shutting down: give the job back to the queue."""
    lost: bool
    """The lease is gone."""


@dataclass(frozen=True)
class Lease:
    """A claim on one job; `owner` is drawn anew for each claim."""

    context: Context
    job_id: str
    owner: str
    worker_id: str

    @classmethod
    def claim(cls, context: Context, job_id: str, worker_id: str) -> Lease | None:
        """Take a queued job; None if it is not queued (any more), which is no error."""
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
        """Show that the worker is alive; False if the lease is gone."""
        with self.context.database.write() as session:
            return self._update(session, lease_renewed_at=database_now(session))

    def stop_request(self) -> StopRequest:
        """Read the flags in the database: cancelled, shutting down, lost."""
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
        """The data set is good: validating -> running. Raises StepRefusedError."""
        with self.context.database.write() as session:
            self._move(session, Status.RUNNING, {"dataset_report": dict(dataset_report)})

    def report(
        self,
        events: Sequence[tuple[str, Mapping[str, Any]]],
        *,
        progress: Mapping[str, Any] | None,
        warnings: Sequence[str],
    ) -> None:
        """Append events and show the newest progress on the job, in one transaction."""
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
    ) -> None:
        """Running -> succeeded, with its model, or StepRefusedError and nothing changed."""
        values = {"config": dict(config), "metrics": dict(metrics), "audit_key": audit_key}
        with self.context.database.write() as session:
            self._move(session, Status.SUCCEEDED, values)
            session.add(model)

    def fail(self, error: Mapping[str, Any]) -> None:
        """Validating or running -> failed. Raises StepRefusedError."""
        with self.context.database.write() as session:
            self._move(session, Status.FAILED, {"error": dict(error)})

    def cancelled(self) -> None:
        """Cancelling -> cancelled. Raises StepRefusedError."""
        with self.context.database.write() as session:
            self._move(session, Status.CANCELLED, {})

    def release(self) -> None:
        """Give the job back to the queue; this claim does not count as an attempt."""
        with self.context.database.write() as session:
            self._move(session, Status.QUEUED, {"attempt": Job.attempt - 1, "progress": None})

    def _move(self, session: Session, target: Status, values: Mapping[str, Any]) -> None:
        if not repository.move(session, self.job_id, target, owner=self.owner, values=values):
            raise StepRefusedError(self.job_id)

    def _update(self, session: Session, **values: Any) -> bool:
        query = update(Job).where(Job.id == self.job_id, Job.lease_owner == self.owner)
        found = session.execute(query.values(values).returning(Job.id))
        return found.one_or_none() is not None
