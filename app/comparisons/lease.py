"""A worker's lease on one comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import case

from app.comparisons.repository import COMPARISONS
from app.leased.lease import RunLease, StepRefusedError
from app.tables.comparisons import Comparison


@dataclass(frozen=True)
class ComparisonLease(RunLease[Comparison]):
    """A claim on one comparison."""

    kind = COMPARISONS

    def progress(self, done: int, images: int) -> None:
        """Store the number of images done, if it is more than before. Raises StepRefusedError.

        Progress resets the attempts: the images so far do not kill a worker.
        """
        further = Comparison.done < done
        values = {
            "images": images,
            "done": case((further, done), else_=Comparison.done),
            "attempt": case((further, 0), else_=Comparison.attempt),
        }
        with self.context.database.write() as session:
            if not self._update(session, **values):
                raise StepRefusedError(self.id)

    def succeed(self, result: Mapping[str, Any]) -> None:
        """Move from running to succeeded. Raises StepRefusedError."""
        self._end(Status.SUCCEEDED, {"result": dict(result)})
