"""Jobs as they look over HTTP, with all that is shown of their data sets and models.

Programs that wait for a job ask for it all the time, so a look is one query, built once. It reads
columns: to make objects of them would take longer than the database does.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, func, select
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.datasets.tables import Dataset
from app.jobs import workers
from app.jobs.schemas import (
    JobCorrections,
    JobDataset,
    JobError,
    JobView,
    links_of,
    progress_of,
)
from app.jobs.state import Status
from app.jobs.tables import Job
from app.kit.context import Context
from app.kit.errors import NotFound
from app.kit.ids import is_id
from app.models.tables import Model

_JOB, _DATASET, _MODEL = Job.__table__, Dataset.__table__, Model.__table__
#: The data set itself, or what its corrections are made to.
_ZIP = _DATASET.alias()
_LOOK = (
    select(
        _JOB,
        _DATASET.c.filename,
        _DATASET.c.relabelled,
        _DATASET.c.dropped,
        _ZIP.c.sha256,
        _ZIP.c.expired_at,
        _MODEL.c.id.label("model_id"),
    )
    .join_from(_JOB, _DATASET, _DATASET.c.id == _JOB.c.dataset_id)
    .join(_ZIP, _ZIP.c.id == func.coalesce(_DATASET.c.parent_id, _DATASET.c.id))
    .outerjoin(_MODEL, _MODEL.c.job_id == _JOB.c.id)
)
_ONE = _LOOK.where(_JOB.c.id == bindparam("job_id"))


def view(session: Session, context: Context, caller: Caller, job_id: str) -> JobView:
    """One job. Raises NotFound: one that is not the caller's does not exist for him."""
    row = session.execute(_ONE, {"job_id": job_id}).one_or_none() if is_id(job_id) else None
    if row is None or not caller.sees(row.owner):
        raise not_found(job_id)
    return _view(row, worker_alive=_worker_alive(session, context, row))


def page(
    session: Session,
    context: Context,
    caller: Caller,
    *,
    after: str | None,
    limit: int,
    status: Status | None,
) -> list[JobView]:
    """The caller's jobs, newest first, from behind the job `after`."""
    wanted: list[ColumnElement[bool]] = []
    if after is not None:
        wanted.append(_JOB.c.id < after)
    if caller.only_owner is not None:
        wanted.append(_JOB.c.owner == caller.only_owner)
    if status is not None:
        wanted.append(_JOB.c.status == status)
    rows = session.execute(_LOOK.where(*wanted).order_by(_JOB.c.id.desc()).limit(limit)).all()
    alive = _worker_alive(session, context, *rows)
    return [_view(row, worker_alive=alive) for row in rows]


def not_found(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r}.", code="job_not_found")


def _worker_alive(session: Session, context: Context, *jobs: Row[Any]) -> bool:
    """Asked for where a job waits for one."""
    queued = any(job.status == Status.QUEUED for job in jobs)
    return queued and workers.any_alive(session, context.settings)


def _view(job: Row[Any], *, worker_alive: bool) -> JobView:
    status = Status(job.status)
    report: dict[str, Any] = dict(job.dataset_report or {})
    content_sha256 = report.pop("sha256", None)
    return JobView(
        id=job.id,
        name=job.name,
        status=status,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        attempt=job.attempt,
        error=JobError.model_validate(job.error) if job.error else None,
        progress=progress_of(status, job.progress, worker_alive=worker_alive),
        dataset=JobDataset(
            id=job.dataset_id,
            sha256=job.sha256,
            filename=job.filename,
            expired_at=job.expired_at,
            content_sha256=content_sha256,
            corrections=_corrections(job),
            **report,
        ),
        config=job.config,
        class_names=job.class_names,
        metrics=job.metrics,
        warnings=job.warnings,
        model_id=job.model_id,
        links=links_of(
            job.id,
            status,
            job.model_id,
            job.corrected_from,
            expired=job.expired_at is not None,
        ),
    )


def _corrections(job: Row[Any]) -> JobCorrections | None:
    if job.relabelled is None or job.dropped is None:
        return None
    return JobCorrections(
        relabelled=job.relabelled, dropped=job.dropped, from_job=job.corrected_from
    )
