"""Read and change jobs. Every state transition goes through `move`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.kit.db import database_now
from app.kit.ids import is_id
from app.tables.job_state import LEASED, sources
from app.tables.jobs import Job, JobEvent, OutboxEntry
from app.webhooks.events import record_end

#: The highest number that an event can have.
MAX_SEQ = 2**31 - 1

EventRow = Row[Any, Any, Any, Any]
"""Number, type, time and data of an event."""

# These run for every poll of an event stream: built once, selecting columns.
_EVENT = JobEvent.__table__.c
_EVENTS = (
    select(_EVENT.seq, _EVENT.type, _EVENT.created_at, _EVENT.data)
    .where(
        _EVENT.job_id == bindparam("job_id"),
        _EVENT.seq > bindparam("after"),
        _EVENT.seq <= bindparam("upto"),
    )
    .order_by(_EVENT.seq)
    .limit(bindparam("limit"))
)
_HEADS = select(Job.id, Job.status, Job.event_seq).where(
    Job.id.in_(bindparam("job_ids", expanding=True))
)


def get(session: Session, job_id: str, *, lock: bool = False) -> Job | None:
    """Return the current job, or None; with `lock`, locked until the transaction ends."""
    if not is_id(job_id):
        return None
    return session.get(Job, job_id, populate_existing=True, with_for_update=lock)


def health(session: Session, job_id: str) -> dict[str, Any] | None:
    """Return the health report of the job's data set, which `get` does not load."""
    return session.scalar(select(Job.health).where(Job.id == job_id))


def by_idempotency_digest(session: Session, digest: str) -> Job | None:
    return session.scalar(select(Job).where(Job.idempotency_digest == digest))


def add(session: Session, job: Job) -> None:
    """Store a new job with its first event and its outbox entry."""
    job.status = Status.QUEUED
    session.add(job)
    session.flush()
    add_event(session, job.id, "status", {"status": Status.QUEUED})
    session.add(OutboxEntry(job_id=job.id))
    session.flush()


def next_queued(session: Session) -> str | None:
    """Return the id of the job whose turn it is; None if no job is queued.

    Owners take turns: first the one with the fewest running jobs, then the one whose last start was
    longest ago. A job that was taken back has not used its owner's turn. Within an owner: by age.
    """
    started = Job.status != Status.QUEUED
    owners = (
        select(
            Job.owner,
            func.count().filter(Job.status.in_(sorted(LEASED))).label("running"),
            func.max(Job.started_at).filter(started).label("last_start"),
        )
        .where(Job.owner.in_(select(Job.owner).where(Job.status == Status.QUEUED)))
        .group_by(Job.owner)
        .subquery()
    )
    return session.scalar(
        select(Job.id)
        .join(owners, owners.c.owner == Job.owner)
        .where(Job.status == Status.QUEUED)
        .order_by(owners.c.running, owners.c.last_start.asc().nulls_first(), Job.id)
        .limit(1)
    )


def move(
    session: Session,
    job_id: str,
    target: Status,
    *,
    when: Iterable[Status] | None = None,
    owner: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> bool:
    """Move a job to `target` if its state allows it; return whether it moved.

    Compare-and-set, with the event in the same transaction. `when` restricts the source states,
    `owner` requires that lease, `values` are set together with the state.
    """
    now = database_now(session)
    changes: dict[str, Any] = dict(values or {})
    changes.update(status=target, event_seq=Job.event_seq + 1)
    changes["finished_at"] = now if target in TERMINAL else None
    if target not in LEASED:
        changes.update(lease_owner=None, lease_renewed_at=None)
    if target is not Status.FAILED:
        changes["error"] = None
    allowed = sources(target) & frozenset(when) if when is not None else sources(target)
    query = update(Job).where(Job.id == job_id, Job.status.in_(sorted(allowed)))
    if owner is not None:
        query = query.where(Job.lease_owner == owner)
    found = (Job.event_seq, Job.attempt, Job.owner, Job.name)
    row = session.execute(query.values(changes).returning(*found)).one_or_none()
    if row is None:
        return False
    data: dict[str, Any] = {"status": target, "attempt": row.attempt}
    if target is Status.FAILED:
        data["error"] = changes["error"]
    _insert_event(session, job_id, row.event_seq, "status", data, now)
    if target is Status.QUEUED:
        session.add(OutboxEntry(job_id=job_id))
        session.flush()
    else:
        session.execute(delete(OutboxEntry).where(OutboxEntry.job_id == job_id))
    if target in TERMINAL:
        error = changes["error"]
        record_end(
            session,
            "job",
            job_id,
            owner=row.owner,
            name=row.name,
            status=target,
            error=error,
            now=now,
        )
    return True


def add_event(session: Session, job_id: str, type_: str, data: Mapping[str, Any]) -> None:
    """Append an event under the next number."""
    seq = session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(event_seq=Job.event_seq + 1)
        .returning(Job.event_seq)
    ).scalar_one()
    _insert_event(session, job_id, seq, type_, data, database_now(session))


def events(
    session: Session, job_id: str, *, after: int, upto: int = MAX_SEQ, limit: int
) -> Sequence[EventRow]:
    """Return the events with numbers over `after` up to `upto`, in order."""
    wanted = {"job_id": job_id, "after": after, "upto": upto, "limit": limit}
    return session.execute(_EVENTS, wanted).all()


def heads(session: Session, job_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return job id -> (state, number of the newest event) of the jobs that exist."""
    rows = session.execute(_HEADS, {"job_ids": job_ids})
    return {job_id: (status, event_seq) for job_id, status, event_seq in rows}


def made_progress(session: Session, job_id: str) -> bool:
    """Return whether the current attempt completed more epochs than each attempt before it.

    A worker reports an epoch once its checkpoint is saved.
    """
    claimed = session.scalar(
        select(func.max(JobEvent.seq)).where(
            JobEvent.job_id == job_id,
            JobEvent.type == "status",
            JobEvent.data["status"].as_string() == Status.VALIDATING,
        )
    )
    epochs = select(func.coalesce(func.max(JobEvent.data["epoch"].as_integer()), 0)).where(
        JobEvent.job_id == job_id, JobEvent.type == "metrics"
    )
    before = session.scalar(epochs.where(JobEvent.seq < claimed))
    now = session.scalar(epochs.where(JobEvent.seq > claimed))
    return (now or 0) > (before or 0)


def remove(session: Session, job_id: str) -> bool:
    """Delete a finished job with its events; return False if it is unfinished or missing.

    Jobs created from it by corrections stay; their reference is cleared.
    """
    found = session.execute(
        delete(Job).where(Job.id == job_id, Job.status.in_(sorted(TERMINAL))).returning(Job.id)
    )
    if found.one_or_none() is None:
        return False
    session.execute(update(Job).where(Job.corrected_from == job_id).values(corrected_from=None))
    return True


def _insert_event(
    session: Session, job_id: str, seq: int, type_: str, data: Mapping[str, Any], now: datetime
) -> None:
    session.execute(
        insert(JobEvent).values(job_id=job_id, seq=seq, type=type_, data=dict(data), created_at=now)
    )
