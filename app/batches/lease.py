"""A worker's lease on one batch.

Results are stored in one transaction with the number of images done, and only under the lease. So
whenever a worker dies, each image has one result or none, and the next worker continues there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import select, update

from app.batches.repository import BATCHES
from app.leased.lease import RunLease, StepRefusedError
from app.tables.batches import Batch, BatchResults


@dataclass(frozen=True)
class BatchLease(RunLease[Batch]):
    """A claim on one batch."""

    kind = BATCHES

    def opened(self, images: int) -> None:
        """Store the number of images. Raises StepRefusedError."""
        with self.context.database.write() as session:
            if not self._update(session, images=images):
                raise StepRefusedError(self.id)

    def store(
        self, first: int, predictions: Sequence[Mapping[str, Any]], worked_seconds: float = 0.0
    ) -> None:
        """Store the predictions of the images from number `first` on; may be repeated.

        worked_seconds: of all images so far. Raises StepRefusedError.
        """
        unreadable = sum(each.get("error") is not None for each in predictions)
        done = first + len(predictions)
        with self.context.database.write() as session:
            query = update(Batch).where(
                Batch.id == self.id,
                Batch.lease_owner == self.owner,
                Batch.status == Status.RUNNING,
                Batch.done == first,
            )
            # Progress resets the attempts: the images so far do not kill a worker.
            values = {
                "done": done,
                "unreadable": Batch.unreadable + unreadable,
                "worked_seconds": worked_seconds,
                "attempt": 0,
            }
            if session.execute(query.values(values).returning(Batch.id)).one_or_none() is None:
                held = select(Batch.done).where(
                    Batch.id == self.id, Batch.lease_owner == self.owner
                )
                if session.scalar(held) != done:
                    raise StepRefusedError(self.id)
                return
            rows = [dict(each) for each in predictions]
            session.add(BatchResults(batch_id=self.id, first=first, predictions=rows))

    def succeed(self) -> None:
        """Move from running to succeeded. Raises StepRefusedError."""
        self._end(Status.SUCCEEDED, {})
