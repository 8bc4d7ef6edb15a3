"""Read batches and their results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select

from app.kit.context import Context
from app.leased.kind import RunKind
from app.tables.batches import Batch, BatchResults


class _Batches(RunKind[Batch]):
    def lost(self, row: Batch) -> str:
        return (
            f"The worker stopped responding {row.attempt} times in a row while it classified the "
            f"images after the first {row.done}. Its log, or that of its machine, has the reason."
        )


#: Its attempts are counted since the last stored result: a part that is stored kills no worker.
BATCHES = _Batches(Batch, "batch")


def results(context: Context, batch_id: str, after: int) -> Iterator[dict[str, Any]]:
    """Yield the predictions of the images from number `after` on, in order, as stored so far."""
    while True:
        query = select(BatchResults).where(BatchResults.batch_id == batch_id)
        with context.database.read() as session:
            # The one that contains `after`, or begins with it.
            first = BatchResults.first
            part = session.scalar(query.where(first <= after).order_by(first.desc()).limit(1))
        found = [] if part is None else part.predictions[after - part.first :]
        if not found:
            return
        yield from found
        after += len(found)
