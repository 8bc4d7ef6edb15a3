"""Jobs as API responses, with what they show of their data sets and models.

Clients that wait for a job poll it, so concurrent requests share one query. It selects columns,
because building ORM objects would take longer than the database does.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dspt_client.schemas.jobs import JobChange, JobCorrections, JobDataset, JobError, JobView
from dspt_client.schemas.status import Status
from sqlalchemy import JSON, ColumnElement, Row, Select, Text, bindparam, cast, func, null, select
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.jobs.lifecycle import workers
from app.jobs.repository import JOBS
from app.jobs.schemas import links_of, progress_of
from app.kit.batched_reader import BatchedReader
from app.kit.cache import SizedCache
from app.kit.context import Context
from app.kit.control_characters import cleaned
from app.kit.http.errors import NotFound
from app.kit.http.filters import Filters
from app.kit.ids import is_id
from app.kit.json_columns import LARGE_METRICS, without
from app.kit.newest_first import newest_first
from app.leased import service as leased
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model

_JOB, _DATASET, _MODEL = Job.__table__, Dataset.__table__, Model.__table__
#: Of a view; the health report is a response of its own.
_COLUMNS = [column for column in _JOB.c if column.name != "health"]
#: Selected as text and parsed only when a view is built.
_JSON = tuple(column.name for column in _COLUMNS if isinstance(column.type, JSON))
#: The data set itself, or the uploaded zip that it corrects.
_ZIP = _DATASET.alias()
#: What lists leave out: it grows with the number of classes and files.
_LARGE: Mapping[str, Sequence[tuple[str, ...]]] = {
    "dataset_report": [("classes",), ("rejected",)],
    "error": [("problems",)],
    "metrics": LARGE_METRICS,
    "change": [("gained",), ("lost",)],
}


def _query(jobs: Iterable[ColumnElement[Any]]) -> Select[Any]:
    """Return a query of these columns of jobs, and of their data sets and models."""
    return (
        select(
            *jobs,
            _DATASET.c.filename,
            _DATASET.c.relabelled,
            _DATASET.c.dropped,
            _DATASET.c.confirmed,
            _ZIP.c.sha256,
            _ZIP.c.expired_at,
            _MODEL.c.id.label("model_id"),
        )
        .join_from(_JOB, _DATASET, _DATASET.c.id == _JOB.c.dataset_id)
        .join(_ZIP, _ZIP.c.id == func.coalesce(_DATASET.c.parent_id, _DATASET.c.id))
        .outerjoin(_MODEL, _MODEL.c.job_id == _JOB.c.id)
    )


@lru_cache(maxsize=2)
def _summaries(dialect: str) -> Select[Any]:
    """Return the query of a list: jobs without what is large."""
    columns: list[ColumnElement[Any]] = []
    for column in _COLUMNS:
        if column.name == "class_names":
            columns.append(cast(null(), Text).label(column.name))
        elif column.name in _LARGE:
            small = without(column, dialect, _LARGE[column.name])
            columns.append(cast(small, Text).label(column.name))
        else:
            columns.append(_as_text(column))
    return _query(columns)


def _as_text(column: Any) -> ColumnElement[Any]:
    """Return the column; JSON as text, which is parsed only when a view is built."""
    return cast(column, Text).label(column.name) if column.name in _JSON else column


_SOME = _query(map(_as_text, _COLUMNS)).where(_JOB.c.id.in_(bindparam("job_ids", expanding=True)))

_OWNERS = select(_JOB.c.id, _JOB.c.owner).where(_JOB.c.id.in_(bindparam("job_ids", expanding=True)))


#: Number and bytes of cached responses; their rows take about as many bytes again.
_MAX_CACHED, _MAX_CACHED_BYTES = 10_000, 16 * 1024**2


@dataclass(frozen=True)
class _Cached:
    row: Row[Any]
    worker_alive: bool
    body: bytes


class JobViewCache:
    """Job views as JSON. Concurrent requests for a job share one read and one serialization.

    A serialized view is reused as long as the job's row is unchanged.
    """

    def __init__(self, context: Context, reader: BatchedReader) -> None:
        self._context = context
        self._reader = reader
        self._cache: SizedCache[_Cached] = SizedCache(_MAX_CACHED, _MAX_CACHED_BYTES)

    async def get_json(self, caller: Caller, job_id: str) -> bytes:
        """Return a JobView as JSON. Raises NotFound, also if it belongs to another owner."""
        found = await self._reader.query(self._write, job_id)
        if found is None or not caller.sees(found.row.owner):
            raise not_found(job_id)
        return found.body

    async def check(self, caller: Caller, job_id: str) -> None:
        """Raise NotFound as `get_json` does."""
        owner = await self._reader.query(_owners, job_id)
        if owner is None or not caller.sees(owner):
            raise not_found(job_id)

    def _write(self, session: Session, job_ids: Sequence[str]) -> list[_Cached | None]:
        rows = _rows(session, job_ids)
        alive = _alive(session, self._context, *rows)
        written = {row.id: self._written(row, row.pool in alive) for row in rows}
        return [written.get(job_id) for job_id in job_ids]

    def _written(self, row: Row[Any], worker_alive: bool) -> _Cached:
        kept = self._cache.get(row.id)
        if kept is not None and kept.row == row and kept.worker_alive == worker_alive:
            return kept
        body = _view(row, worker_alive=worker_alive).model_dump_json().encode()
        written = _Cached(row, worker_alive, body)
        self._cache.put(row.id, written, len(body))
        return written


def view(session: Session, context: Context, caller: Caller, job_id: str) -> JobView:
    """Return one job. Raises NotFound, also if it belongs to another owner."""
    rows = _rows(session, [job_id])
    if not rows or not caller.sees(rows[0].owner):
        raise not_found(job_id)
    return _view(rows[0], worker_alive=rows[0].pool in _alive(session, context, *rows))


def page(
    session: Session,
    context: Context,
    caller: Caller,
    *,
    after: str | None,
    limit: int,
    status: Status | None,
    backbone: str | None,
    filters: Filters,
) -> list[JobView]:
    """Return the jobs that the caller may see, newest first, older than the job `after`.

    They are summaries: without class words, and without what grows with classes and files.
    """
    query = _summaries(session.get_bind().dialect.name)
    if status is not None:
        query = query.where(_JOB.c.status == status)
    if backbone is not None:
        query = query.where(_JOB.c.config["backbone"].as_string() == cleaned(backbone))
    query = filters.apply(query, _JOB.c, _JOB.c.name)
    query = newest_first(query, _JOB.c, owner=caller.only_owner, after=after, limit=limit)
    rows = session.execute(query).all()
    alive = _alive(session, context, *rows)
    return [_view(row, worker_alive=row.pool in alive, summary=True) for row in rows]


def not_found(job_id: str) -> NotFound:
    return leased.not_found(JOBS, job_id)


def _owners(session: Session, job_ids: Sequence[str]) -> list[str | None]:
    ids = sorted({job_id for job_id in job_ids if is_id(job_id)})
    rows = session.execute(_OWNERS, {"job_ids": ids}).all() if ids else []
    owners = {row.id: row.owner for row in rows}
    return [owners.get(job_id) for job_id in job_ids]


def _rows(session: Session, job_ids: Sequence[str]) -> Sequence[Row[Any]]:
    ids = sorted({job_id for job_id in job_ids if is_id(job_id)})
    return session.execute(_SOME, {"job_ids": ids}).all() if ids else []


def _alive(session: Session, context: Context, *jobs: Row[Any]) -> Container[str]:
    """Return the pools that have a worker; queried only if a job is queued."""
    queued = any(job.status == Status.QUEUED for job in jobs)
    return workers.alive(session, context.settings) if queued else ()


def _view(job: Row[Any], *, worker_alive: bool, summary: bool = False) -> JobView:
    status = Status(job.status)
    stored = {name: text and json.loads(text) for name in _JSON for text in [getattr(job, name)]}
    report: dict[str, Any] = stored["dataset_report"] or {}
    content_sha256 = report.pop("sha256", None)
    return JobView(
        id=job.id,
        summary=summary,
        name=job.name,
        status=status,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        attempt=job.attempt,
        pool=job.pool,
        error=JobError.model_validate(stored["error"]) if stored["error"] else None,
        progress=progress_of(status, stored["progress"], job.pool, worker_alive=worker_alive),
        dataset=JobDataset(
            id=job.dataset_id,
            sha256=job.sha256,
            filename=job.filename,
            expired_at=job.expired_at,
            content_sha256=content_sha256,
            corrections=_corrections(job),
            **report,
        ),
        config=stored["config"],
        class_names=stored["class_names"],
        metadata=stored["metadata"] or {},
        metrics=stored["metrics"],
        change=JobChange.model_validate(stored["change"]) if stored["change"] else None,
        warnings=stored["warnings"],
        model_id=job.model_id,
        links=links_of(
            job.id,
            status,
            job.model_id,
            job.corrected_from,
            expired=job.expired_at is not None,
            has_predictions=job.predictions_key is not None,
        ),
    )


def _corrections(job: Row[Any]) -> JobCorrections | None:
    if job.relabelled is None or job.dropped is None:
        return None
    return JobCorrections(
        relabelled=job.relabelled,
        dropped=job.dropped,
        kept=job.confirmed or 0,
        from_job=job.corrected_from,
    )
