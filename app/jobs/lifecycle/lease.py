"""A worker's lease on one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import select

from app.jobs import repository
from app.leased.lease import Lease, StepRefusedError
from app.tables.jobs import Job
from app.tables.models import Model


@dataclass(frozen=True)
class JobLease(Lease[Job]):
    """A claim on one job."""

    kind = repository.JOBS

    def start_running(self, dataset_report: Mapping[str, Any]) -> None:
        """Move from validating to running; may be repeated. Raises StepRefusedError."""
        with self.context.database.write() as session:
            held = select(Job.status).where(Job.id == self.id, Job.lease_owner == self.owner)
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
                raise StepRefusedError(self.id)
            for type_, data in events:
                repository.add_event(session, self.id, type_, data)

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
