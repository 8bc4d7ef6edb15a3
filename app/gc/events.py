"""Events of ended jobs: those past their retention, and those that no curve needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, case, delete, func, select
from sqlalchemy.orm import aliased

from app.gc.findings import Finding, Kind
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.jobs import Job, JobEvent

#: After this time no client reads the end of the job any more.
_THIN_AFTER = timedelta(hours=1)
#: A job has seven stages; each attempt starts again.
_MAX_STAGES = 50
#: Rows of one transaction.
_BATCH = 500


def expired_events(context: Context, dry_run: bool) -> Iterator[Finding]:
    """Delete the events of jobs that ended before DSPT_KEEP_EVENTS_DAYS, but no state changes."""
    days = context.settings.keep_events_days
    if days is None:
        return
    job, expirable = aliased(Job), JobEvent.type != "status"
    with context.database.read() as session:
        before = database_now(session) - timedelta(days=days)
        counted = session.execute(
            select(JobEvent.job_id, func.count())
            .join(job, job.id == JobEvent.job_id)
            .where(expirable, job.finished_at < before)
            .group_by(JobEvent.job_id)
        ).all()
    for job_id, count in counted:
        if not dry_run:
            ended = select(Job.id).where(Job.id == job_id, Job.finished_at < before)
            with context.database.write() as session:  # the job may just have been retried
                session.execute(delete(JobEvent).where(expirable, JobEvent.job_id.in_(ended)))
        yield Finding(Kind.EVENTS, job_id, count=count)


def thinned_events(context: Context, dry_run: bool) -> Iterator[Finding]:
    """Thin out metrics and progress events; keep all state changes and warnings."""
    most = context.settings.keep_metrics_events
    with context.database.read() as session:
        before = database_now(session) - _THIN_AFTER
        many = session.scalars(
            select(JobEvent.job_id)
            .join(Job, Job.id == JobEvent.job_id)
            .where(JobEvent.type.in_(("metrics", "progress")), Job.finished_at < before)
            .group_by(JobEvent.job_id)
            .having(
                (func.sum(case((JobEvent.type == "metrics", 1), else_=0)) > most)
                | (func.sum(case((JobEvent.type == "progress", 1), else_=0)) > _MAX_STAGES)
            )
        ).all()
    for job_id in many:
        with context.database.read() as session:
            events = session.execute(
                select(
                    JobEvent.seq, JobEvent.type, JobEvent.data["stage"].as_string().label("stage")
                )
                .where(JobEvent.job_id == job_id)
                .order_by(JobEvent.seq)
            ).all()
        dropped = _dropped(events, most)
        for start in range(0, 0 if dry_run else len(dropped), _BATCH):
            ended = select(Job.id).where(Job.id == job_id, Job.finished_at < before)
            with context.database.write() as session:  # the job may just have been retried
                session.execute(
                    delete(JobEvent).where(
                        JobEvent.job_id.in_(ended),
                        JobEvent.seq.in_(dropped[start : start + _BATCH]),
                    )
                )
        if dropped:
            yield Finding(Kind.THINNED, job_id, count=len(dropped))


def _dropped(events: Sequence[Row[Any]], most: int) -> list[int]:
    """Return the numbers of the events to delete."""
    dropped, metrics, stage = list[int](), list[int](), None
    for event in events:
        if event.type == "metrics":
            metrics.append(event.seq)
        elif event.type == "status":
            stage = None  # an attempt starts
        elif event.type == "progress":
            if event.stage == stage:
                dropped.append(event.seq)
            stage = event.stage
    if len(metrics) > most:
        last = len(metrics) - 1
        kept = {metrics[round(i * last / (most - 1))] for i in range(most)}
        dropped += [seq for seq in metrics if seq not in kept]
    return dropped
