"""Read and change jobs. Every state transition goes through `JOBS.move`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.kit.db import database_now
from app.leased.kind import Kind
from app.tables.job_state import LEASED, sources
from app.tables.jobs import Job, JobEvent, OutboxEntry

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


def health(session: Session, job_id: str) -> dict[str, Any] | None:
    """Return the health report of the job's data set, which `get` does not load."""
    return session.scalar(select(Job.health).where(Job.id == job_id))


def add(session: Session, job: Job) -> None:
    """Store a new job with its first event and its outbox entry."""
    job.status = Status.QUEUED
    session.add(job)
    session.flush()
    add_event(session, job.id, "status", {"status": Status.QUEUED})
    session.add(OutboxEntry(job_id=job.id))
    session.flush()


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


def _insert_event(
    session: Session, job_id: str, seq: int, type_: str, data: Mapping[str, Any], now: datetime
) -> None:
    session.execute(
        insert(JobEvent).values(job_id=job_id, seq=seq, type=type_, data=dict(data), created_at=now)
    )


class _Jobs(Kind[Job]):
    """Jobs, with their events and their entry in the outbox."""

    _returned = (Job.event_seq, Job.attempt)

    def next_queued(self, session: Session, pool: str) -> tuple[datetime, str] | None:
        """Return when the next job of a pool was created, and its id; None if none is queued.

        Owners take turns in each pool: first the one with the fewest running jobs, then the one
        whose last start was longest ago. A job that was taken back has not used its owner's turn.
        Within an owner: by age.
        """
        queued, started = Job.status == Status.QUEUED, Job.status != Status.QUEUED
        here = Job.pool == pool
        owners = (
            select(
                Job.owner,
                func.count().filter(Job.status.in_(sorted(LEASED))).label("running"),
                func.max(Job.started_at).filter(started).label("last_start"),
            )
            .where(here, Job.owner.in_(select(Job.owner).where(queued, here)))
            .group_by(Job.owner)
            .subquery()
        )
        row = session.execute(
            select(Job.created_at, Job.id)
            .join(owners, owners.c.owner == Job.owner)
            .where(queued, here)
            .order_by(owners.c.running, owners.c.last_start.asc().nulls_first(), Job.id)
            .limit(1)
        ).one_or_none()
        return None if row is None else (row.created_at, row.id)

    def _changes(self, target: Status, now: datetime) -> dict[str, Any]:
        return {"event_seq": Job.event_seq + 1}

    def _moved(
        self,
        session: Session,
        row: Row[Any],
        target: Status,
        changes: dict[str, Any],
        now: datetime,
    ) -> None:
        data: dict[str, Any] = {"status": target, "attempt": row.attempt}
        if target is Status.FAILED:
            data["error"] = changes["error"]
        _insert_event(session, row.id, row.event_seq, "status", data, now)
        if target is Status.QUEUED:
            session.add(OutboxEntry(job_id=row.id))
            session.flush()
        else:
            session.execute(delete(OutboxEntry).where(OutboxEntry.job_id == row.id))

    def remove(self, session: Session, row_id: str) -> bool:
        """Jobs created from it by corrections stay; their reference is cleared."""
        if not super().remove(session, row_id):
            return False
        session.execute(update(Job).where(Job.corrected_from == row_id).values(corrected_from=None))
        return True

    def made_progress(self, session: Session, row_id: str) -> bool:
        """Return whether the current attempt completed more epochs than each attempt before it.

        A worker reports an epoch once its checkpoint is saved.
        """
        claimed = session.scalar(
            select(func.max(JobEvent.seq)).where(
                JobEvent.job_id == row_id,
                JobEvent.type == "status",
                JobEvent.data["status"].as_string() == Status.VALIDATING,
            )
        )
        epochs = select(func.coalesce(func.max(JobEvent.data["epoch"].as_integer()), 0)).where(
            JobEvent.job_id == row_id, JobEvent.type == "metrics"
        )
        before = session.scalar(epochs.where(JobEvent.seq < claimed))
        now = session.scalar(epochs.where(JobEvent.seq > claimed))
        return (now or 0) > (before or 0)

    def lost(self, row: Job) -> str:
        return (
            f"The worker stopped responding {row.attempt} times while it ran this job, each time "
            "before a further epoch was complete. Its log, or that of its machine, has the reason. "
            "If memory ran out, lower `augment_views` or the number of images."
        )

    def not_retriable(self, status: str) -> str:
        return "job_succeeded" if status == Status.SUCCEEDED else "job_not_finished"


JOBS = _Jobs(
    Job,
    "job",
    claimed=Status.VALIDATING,
    sources={status: sources(status) for status in Status},
    fresh={"progress": None, "dataset_report": None, "warnings": []},
    back={"progress": None},
)
get, move, remove = JOBS.get, JOBS.move, JOBS.remove
by_idempotency_digest = JOBS.by_idempotency_digest
