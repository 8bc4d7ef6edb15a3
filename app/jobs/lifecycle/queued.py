"""What waits for a worker."""

from __future__ import annotations

from collections import Counter

from dspt_client.schemas.status import Status
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.tables.batches import Batch
from app.tables.comparisons import Comparison
from app.tables.jobs import Job


def queued_by_pool(session: Session) -> Counter[str]:
    """Return pool -> number of its queued jobs, batches and comparisons."""
    found = Counter[str]()
    for table in (Job, Batch, Comparison):
        query = select(table.pool, func.count()).where(table.status == Status.QUEUED)
        found.update(dict(iter(session.execute(query.group_by(table.pool)))))
    return found
