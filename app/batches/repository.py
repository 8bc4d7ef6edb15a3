"""Read and change batches. Every state transition goes through `move`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dspt_client.schemas.batches import BatchStatus
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.jobs.repository import next_queued as next_queued_job
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.ids import is_id
from app.kit.newest_first import newest_first
from app.tables.batches import LEASED, TERMINAL, Batch, BatchResults
from app.tables.jobs import Job
from app.webhooks.events import record_end

#: Target -> the states from which it can be entered.
_SOURCES = MappingProxyType(
    {
        BatchStatus.RUNNING: {BatchStatus.QUEUED},
        BatchStatus.CANCELLING: {BatchStatus.RUNNING},
        BatchStatus.SUCCEEDED: {BatchStatus.RUNNING},
        BatchStatus.FAILED: {BatchStatus.RUNNING},
        BatchStatus.CANCELLED: {BatchStatus.QUEUED, BatchStatus.CANCELLING},
        BatchStatus.QUEUED: {BatchStatus.RUNNING, BatchStatus.FAILED, BatchStatus.CANCELLED},
    }
)


def get(session: Session, batch_id: str, *, lock: bool = False) -> Batch | None:
    """Return the current batch, or None; with `lock`, locked until the transaction ends."""
    if not is_id(batch_id):
        return None
    return session.get(Batch, batch_id, populate_existing=True, with_for_update=lock)


def by_idempotency_digest(session: Session, digest: str) -> Batch | None:
    return session.scalar(select(Batch).where(Batch.idempotency_digest == digest))


def page(session: Session, *, owner: str | None, after: str | None, limit: int) -> Sequence[Batch]:
    """Return batches of one owner, or of all (None), newest first, older than `after`."""
    query = newest_first(select(Batch), Batch, owner=owner, after=after, limit=limit)
    return session.scalars(query).all()


def next_queued(session: Session) -> str | None:
    """Return the id of the batch that was queued first; None if no batch is queued."""
    query = select(Batch.id).where(Batch.status == BatchStatus.QUEUED)
    return session.scalar(query.order_by(Batch.queued_at, Batch.id).limit(1))


def is_next(session: Session) -> bool:
    """Return whether a batch is queued, and was queued before the job whose turn it is."""
    batch_id, job_id = next_queued(session), next_queued_job(session)
    if batch_id is None or job_id is None:
        return batch_id is not None
    queued_at = select(Batch.queued_at).where(Batch.id == batch_id).scalar_subquery()
    query = select(Job.id).where(Job.id == job_id, Job.created_at > queued_at)
    return session.scalar(query) is not None


def move(
    session: Session,
    batch_id: str,
    target: BatchStatus,
    *,
    when: Iterable[BatchStatus] | None = None,
    owner: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> bool:
    """Move a batch to `target` if its state allows it; return whether it moved.

    Compare-and-set. `when` restricts the source states, `owner` requires that lease, `values` are
    set together with the state.
    """
    now = database_now(session)
    changes: dict[str, Any] = {"error": None, **(values or {}), "status": target}
    changes["finished_at"] = now if target in TERMINAL else None
    if target not in LEASED:
        changes.update(lease_owner=None, lease_renewed_at=None)
    if target is BatchStatus.QUEUED:
        changes.update(queued_at=now, sent_at=None)
    allowed = _SOURCES[target] & set(_SOURCES if when is None else when)
    query = update(Batch).where(Batch.id == batch_id, Batch.status.in_(sorted(allowed)))
    if owner is not None:
        query = query.where(Batch.lease_owner == owner)
    row = session.execute(query.values(changes).returning(Batch.owner, Batch.name)).one_or_none()
    if row is not None and target in TERMINAL:
        record_end(
            session,
            "batch",
            batch_id,
            owner=row.owner,
            name=row.name,
            status=target,
            error=changes["error"],
            now=now,
        )
    return row is not None


def remove(session: Session, batch_id: str) -> bool:
    """Delete an ended batch with its results; return False if it has not ended."""
    query = delete(Batch).where(Batch.id == batch_id, Batch.status.in_(sorted(TERMINAL)))
    return session.execute(query.returning(Batch.id)).one_or_none() is not None


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
