"""A worker's lease on one batch, as `app.jobs.lifecycle.lease` has it for jobs.

Results are stored in one transaction with the number of images done, and only under the lease. So
whenever a worker dies, each image has one result or none, and the next worker continues there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspt_client.schemas.batches import BatchStatus
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.batches import repository
from app.jobs.lifecycle.lease import StepRefusedError, StopRequest
from app.jobs.repository import next_queued as next_queued_job
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.ids import new_id
from app.tables.batches import Batch, BatchResults
from app.tables.jobs import Worker


@dataclass(frozen=True)
class BatchLease:
    """A claim on one batch; `owner` is a new random id for each claim."""

    context: Context
    batch_id: str
    owner: str
    worker_id: str

    @classmethod
    def claim_next(cls, context: Context, worker_id: str) -> BatchLease | None:
        """Claim the batch whose turn it is; None if it is a job's turn, or none is queued."""
        while True:
            with context.database.read() as session:
                batch_id = repository.next_queued(session) if repository.is_next(session) else None
            if batch_id is None:
                return None
            owner = new_id("lease")
            with context.database.write() as session:
                now = database_now(session)
                values = {
                    "lease_owner": owner,
                    "lease_renewed_at": now,
                    "attempt": Batch.attempt + 1,
                    "started_at": func.coalesce(Batch.started_at, now),
                }
                taken = repository.move(session, batch_id, BatchStatus.RUNNING, values=values)
            if taken:  # else another worker was faster, or the batch was cancelled
                return cls(context, batch_id, owner, worker_id)

    def renew(self) -> bool:
        """Renew the lease; return False if it is lost."""
        with self.context.database.write() as session:
            return self._update(session, lease_renewed_at=database_now(session))

    def stop_request(self) -> StopRequest:
        """Read from the database whether to stop, and why."""
        with self.context.database.read() as session:
            query = select(Batch.status, Batch.lease_owner).where(Batch.id == self.batch_id)
            row = session.execute(query).one_or_none()
            stopping = session.scalar(select(Worker.stopping).where(Worker.id == self.worker_id))
        return StopRequest(
            cancel=row is not None and row.status == BatchStatus.CANCELLING,
            release=bool(stopping),
            lost=row is None or row.lease_owner != self.owner,
        )

    def job_waits(self) -> bool:
        """Return whether a job is queued."""
        with self.context.database.read() as session:
            return next_queued_job(session) is not None

    def opened(self, images: int) -> None:
        """Store the number of images. Raises StepRefusedError."""
        with self.context.database.write() as session:
            if not self._update(session, images=images):
                raise StepRefusedError(self.batch_id)

    def store(self, first: int, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Store the predictions of the images from number `first` on; may be repeated.

        Raises StepRefusedError.
        """
        unreadable = sum(each.get("error") is not None for each in predictions)
        done = first + len(predictions)
        with self.context.database.write() as session:
            query = update(Batch).where(
                Batch.id == self.batch_id,
                Batch.lease_owner == self.owner,
                Batch.status == BatchStatus.RUNNING,
                Batch.done == first,
            )
            # Progress resets the attempts: the images so far do not kill a worker.
            values = {"done": done, "unreadable": Batch.unreadable + unreadable, "attempt": 0}
            if session.execute(query.values(values).returning(Batch.id)).one_or_none() is None:
                held = select(Batch.done).where(
                    Batch.id == self.batch_id, Batch.lease_owner == self.owner
                )
                if session.scalar(held) != done:
                    raise StepRefusedError(self.batch_id)
                return
            rows = [dict(each) for each in predictions]
            session.add(BatchResults(batch_id=self.batch_id, first=first, predictions=rows))

    def succeed(self) -> None:
        """Move from running to succeeded. Raises StepRefusedError."""
        self._move(BatchStatus.SUCCEEDED, {})

    def fail(self, error: Mapping[str, Any]) -> None:
        """Move from running to failed. Raises StepRefusedError."""
        self._move(BatchStatus.FAILED, {"error": dict(error)})

    def cancelled(self) -> None:
        """Move from cancelling to cancelled. Raises StepRefusedError."""
        self._move(BatchStatus.CANCELLED, {})

    def release(self) -> None:
        """Return the batch to the queue. The worker is alive, so the attempts are reset."""
        self._move(BatchStatus.QUEUED, {"attempt": 0})

    def _move(self, target: BatchStatus, values: Mapping[str, Any]) -> None:
        with self.context.database.write() as session:
            if not repository.move(session, self.batch_id, target, owner=self.owner, values=values):
                raise StepRefusedError(self.batch_id)

    def _update(self, session: Session, **values: Any) -> bool:
        query = update(Batch).where(Batch.id == self.batch_id, Batch.lease_owner == self.owner)
        return session.execute(query.values(values).returning(Batch.id)).one_or_none() is not None
