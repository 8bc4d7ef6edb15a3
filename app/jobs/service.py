"""What can be done with jobs from outside: make, look at, cancel, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.datasets.tables import Dataset
from app.jobs import repository, workers
from app.jobs.requests import JobRequest
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
from app.kit.errors import Conflict, NotFound, ProblemItem
from app.kit.ids import LOCAL_OWNER, new_id, owned
from app.models import repository as models


@dataclass(frozen=True)
class Created:
    job: JobView
    replayed: bool
    """The Idempotency-Key had made this job before."""


def create(
    context: Context,
    request: JobRequest,
    dataset: dataset_service.Upload | str,
    idempotency_key: str | None,
    *,
    corrected_from: str | None = None,
) -> Created:
    """Make a job on an upload or on a data set's id. Raises NotFound, Conflict, Unprocessable.

    `corrected_from` is the job that a person corrected the labels of.
    """
    upload = None if isinstance(dataset, str) else dataset
    origin = upload.sha256 if upload else str(dataset)
    request_sha256 = request.sha256(f"{corrected_from}/{origin}" if corrected_from else origin)
    for last_try in (False, True):
        replayed = _replay(context, idempotency_key, request_sha256)
        if replayed is not None:
            return Created(replayed, replayed=True)
        dataset_id = dataset_service.store(context, upload) if upload else str(dataset)
        try:
            job_id = _insert(
                context, request, dataset_id, idempotency_key, request_sha256, corrected_from
            )
        except (IntegrityError, NotFound):
            # At this moment the same key made a job, or somebody deleted the data set or the job
            # that is corrected.
            if last_try or (upload is None and idempotency_key is None):
                _forget(context, dataset_id)
                raise
            continue
        with context.database.read() as session:
            return Created(view(session, context, job_id), replayed=False)
    raise AssertionError("the second try returns or raises")


def view(session: Session, context: Context, job_id: str) -> JobView:
    """A job as it looks over HTTP. Raises NotFound."""
    return views(session, context, [find(session, job_id)])[0]


def views(session: Session, context: Context, jobs: Sequence[Job]) -> list[JobView]:
    """Jobs as they look over HTTP."""
    model_ids = models.ids_of_jobs(session, [job.id for job in jobs])
    queued = any(job.status == Status.QUEUED for job in jobs)
    alive = queued and workers.any_alive(session, context.settings)
    result = []
    for job in jobs:
        dataset = datasets.get(session, job.dataset_id)
        assert dataset is not None  # a foreign key says so
        zip_file = datasets.zip_of(session, dataset)
        result.append(_view(job, dataset, zip_file, model_ids.get(job.id), worker_alive=alive))
    return result


def find(session: Session, job_id: str) -> Job:
    """The job, or NotFound."""
    job = repository.get(session, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id!r}.", code="job_not_found")
    return job


def cancel(context: Context, job_id: str) -> JobView:
    """Cancel a job: at once if it is queued, else its worker is told. Raises NotFound, Conflict."""
    with context.database.write() as session:
        moved = repository.move(
            session, job_id, Status.CANCELLED, when=[Status.QUEUED]
        ) or repository.move(session, job_id, Status.CANCELLING)
        job = find(session, job_id)
        if not moved and job.status != Status.CANCELLING:
            raise Conflict(
                f"The job has {_ENDED[Status(job.status)]} already and cannot be cancelled.",
                code="job_finished",
            )
        return view(session, context, job_id)


def retry(context: Context, job_id: str) -> JobView:
    """Put a failed or cancelled job back into the queue, with all its attempts before it.

    Raises NotFound, Conflict.
    """
    with context.database.write() as session:
        dataset = datasets.get(session, find(session, job_id).dataset_id)
        assert dataset is not None  # a foreign key says so
        dataset_service.keep_for_a_job(session, dataset)
        moved = repository.move(
            session,
            job_id,
            Status.QUEUED,
            when=[Status.FAILED, Status.CANCELLED],
            values={
                "attempt": 0,
                "progress": None,
                "dataset_report": None,
                "warnings": [],
            },
        )
        job = find(session, job_id)
        if not moved:
            raise Conflict(
                f"The job is {job.status}; only one that failed or was cancelled is tried again.",
                code="job_succeeded" if job.status == Status.SUCCEEDED else "job_not_finished",
            )
        return view(session, context, job_id)


def delete(context: Context, job_id: str) -> None:
    """Delete a finished job, its audit, and its data set if no other job uses it.

    The model it made stays. Raises NotFound, Conflict.
    """
    with context.database.write() as session:
        job = find(session, job_id)
        dataset = datasets.get(session, job.dataset_id)
        assert dataset is not None
        session.expunge(job)
        if not repository.remove(session, job_id):
            raise Conflict(
                f"The job is {job.status}. Cancel it first (POST /jobs/{job_id}/cancel), "
                "or wait until it has ended.",
                code="job_not_finished",
            )
        dataset_keys = dataset_service.remove_if_unused(session, dataset)
    # After the commit: a crash in between leaves a file without a row, never a row without a file.
    for key in (job.audit_key, *dataset_keys):
        if key is not None:
            context.storage.delete(key)


def _forget(context: Context, dataset_id: str) -> None:
    """Delete a data set that was stored for a job which could not be made."""
    with context.database.write() as session:
        dataset = datasets.get(session, dataset_id)
        keys = dataset_service.remove_if_unused(session, dataset) if dataset else []
    for key in keys:
        context.storage.delete(key)


_ENDED = {
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELLED: "been cancelled",
}


def _replay(context: Context, key: str | None, request_sha256: str) -> JobView | None:
    if key is None:
        return None
    with context.database.read() as session:
        job = repository.by_idempotency_digest(session, owned(LOCAL_OWNER, key))
        if job is None:
            return None
        if job.request_sha256 != request_sha256:
            raise Conflict(
                f"The Idempotency-Key {key!r} was used for a different request (job {job.id}). "
                "Use a new key for a new job.",
                code="idempotency_key_reused",
            )
        return view(session, context, job.id)


def _insert(
    context: Context,
    request: JobRequest,
    dataset_id: str,
    idempotency_key: str | None,
    request_sha256: str,
    corrected_from: str | None,
) -> str:
    with context.database.write() as session:
        dataset = datasets.get(session, dataset_id)
        if dataset is None:
            message = f"There is no data set {dataset_id!r}."
            item = ProblemItem(param="dataset_id", code="dataset_not_found", message=message)
            raise NotFound(message, code="dataset_not_found", errors=[item])
        dataset_service.keep_for_a_job(session, dataset)
        if corrected_from is not None:
            find(session, corrected_from)  # it may have been deleted at this moment
        name = request.name or dataset.filename.removesuffix(".zip") or dataset.filename
        job = Job(
            id=new_id("job"),
            owner=LOCAL_OWNER,
            name=name[:200],
            created_at=datetime.now(UTC),
            attempt=0,
            dataset_id=dataset_id,
            corrected_from=corrected_from,
            class_names=request.class_names,
            config=request.config,
            asked_config=request.config,
            warnings=[],
            event_seq=0,
            idempotency_digest=owned(LOCAL_OWNER, idempotency_key) if idempotency_key else None,
            request_sha256=request_sha256,
        )
        repository.add(session, job)
        return job.id


def _view(
    job: Job, dataset: Dataset, zip_file: Dataset, model_id: str | None, *, worker_alive: bool
) -> JobView:
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
            id=dataset.id,
            sha256=zip_file.sha256,
            filename=dataset.filename,
            expired_at=zip_file.expired_at,
            content_sha256=content_sha256,
            corrections=_corrections(job, dataset),
            **report,
        ),
        config=job.config,
        class_names=job.class_names,
        metrics=job.metrics,
        warnings=job.warnings,
        model_id=model_id,
        links=links_of(job.id, status, model_id, job.corrected_from),
    )


def _corrections(job: Job, dataset: Dataset) -> JobCorrections | None:
    if dataset.relabelled is None or dataset.dropped is None:
        return None
    return JobCorrections(
        relabelled=dataset.relabelled, dropped=dataset.dropped, from_job=job.corrected_from
    )
