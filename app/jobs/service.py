"""Create, cancel, retry and delete jobs."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from dspt_client.schemas.jobs import JobView
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.backbones.allowed import pool_for
from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.jobs import repository
from app.jobs.intake.requests import JobRequest
from app.jobs.repository import JOBS
from app.jobs.views import view
from app.kit.context import Context
from app.kit.http.errors import NotFound, ServiceUnavailable, TooManyRequests
from app.kit.ids import new_id, owner_digest
from app.kit.tracing import request_origin
from app.leased import service as leased
from app.quotas import service as quotas
from app.tables.jobs import Job

_log = structlog.get_logger(__name__)


def create(
    context: Context,
    caller: Caller,
    request: JobRequest,
    dataset: dataset_service.Upload | str,
    idempotency_key: str | None,
    *,
    corrected: Job | None = None,
    request_sha256: str | None = None,
) -> leased.Created[JobView]:
    """Create a job on an upload or a data set id. The owner of the data set owns the job.

    corrected: the job whose labels were corrected, if any; request_sha256: digest of the call, if
    the same call may make another request or data set later. Raises NotFound, Conflict,
    Unprocessable, and TooManyRequests or ServiceUnavailable if a quota is exceeded.
    """
    pool = pool_for(context.settings.pools, request.config["backbone"])
    upload = None if isinstance(dataset, str) else dataset
    owner = caller.owner if corrected is None else corrected.owner
    corrected_from = None if corrected is None else corrected.id
    if request_sha256 is None:
        request_sha256 = request.sha256(upload.sha256 if upload else str(dataset))
    for last_try in (False, True):
        if earlier := replayed(context, caller, idempotency_key, request_sha256):
            return earlier
        dataset_id = dataset_service.store(context, upload, owner) if upload else str(dataset)
        try:
            job_id = _insert(
                context,
                caller,
                request,
                dataset_id,
                idempotency_key,
                request_sha256,
                corrected_from,
                pool,
            )
        except (IntegrityError, NotFound, TooManyRequests, ServiceUnavailable) as error:
            # A concurrent request with the same key created a job, or the data set or the corrected
            # job was deleted: check again.
            if not isinstance(error, (IntegrityError, NotFound)) or last_try:
                if upload is not None:
                    _forget(context, dataset_id)
                raise
            continue
        _log.info("job queued", job_id=job_id)
        with context.database.read() as session:
            return leased.Created(view(session, context, caller, job_id), replayed=False)
    raise AssertionError("the second attempt returns or raises")


def replayed(
    context: Context, caller: Caller, idempotency_key: str | None, request_sha256: str
) -> leased.Created[JobView] | None:
    """Return the job that an earlier request with this key created. Raises Conflict."""
    with context.database.read() as session:
        job = leased.replayed(JOBS, session, caller, idempotency_key, request_sha256)
        if job is None:
            return None
        return leased.Created(view(session, context, caller, job.id), replayed=True)


def find(session: Session, caller: Caller, job_id: str, *, lock: bool = False) -> Job:
    """Return the job. Raises NotFound, also if it belongs to another owner.

    Lock order: the job first, then its data set.
    """
    return leased.find(JOBS, session, caller, job_id, lock=lock)


def set_metadata(
    context: Context, caller: Caller, job_id: str, metadata: dict[str, str]
) -> JobView:
    """Replace the metadata of a job. Raises NotFound."""
    with context.database.write() as session:
        find(session, caller, job_id, lock=True).user_metadata = metadata
        session.flush()
        return view(session, context, caller, job_id)


def cancel(context: Context, caller: Caller, job_id: str) -> JobView:
    """Cancel a job: at once if queued, else through its worker. Raises NotFound, Conflict."""
    with context.database.write() as session:
        leased.cancel(JOBS, session, caller, job_id)
        return view(session, context, caller, job_id)


def retry(context: Context, caller: Caller, job_id: str) -> JobView:
    """Queue a failed or cancelled job again, with its attempts reset.

    Raises NotFound, Conflict, and TooManyRequests or ServiceUnavailable if a quota is exceeded.
    """
    with context.database.write() as session:
        dataset = datasets.get(session, find(session, caller, job_id, lock=True).dataset_id)
        assert dataset is not None  # foreign key
        dataset_service.keep_for_a_job(session, dataset)
        leased.retry(JOBS, session, context.settings, caller, job_id, {"health": None})
        return view(session, context, caller, job_id)


def delete(context: Context, caller: Caller, job_id: str) -> None:
    """Delete a finished job, its audit and predictions, and its data set if no other job uses it.

    Its model stays. Raises NotFound, Conflict.
    """
    with context.database.write() as session:
        job = leased.delete(JOBS, session, caller, job_id)
        dataset = datasets.get(session, job.dataset_id)
        assert dataset is not None  # foreign key
        dataset_keys = dataset_service.remove_if_unused(session, dataset)
    # After the commit: a crash in between leaves a file without a row, never a row without a file.
    for key in (job.audit_key, job.predictions_key):
        if key is not None:
            context.storage.delete(key)
    dataset_service.delete_files(context, dataset_keys)


def _forget(context: Context, dataset_id: str) -> None:
    """Delete a data set that was stored for a job that could not be created."""
    with context.database.write() as session:
        dataset = datasets.get(session, dataset_id)
        keys = dataset_service.remove_if_unused(session, dataset) if dataset else []
    dataset_service.delete_files(context, keys)


def _insert(
    context: Context,
    caller: Caller,
    request: JobRequest,
    dataset_id: str,
    idempotency_key: str | None,
    request_sha256: str,
    corrected_from: str | None,
    pool: str,
) -> str:
    with context.database.write() as session:
        dataset = dataset_service.find(session, caller, dataset_id)
        dataset_service.keep_for_a_job(session, dataset)
        metadata = request.metadata
        if corrected_from is not None:  # it may just have been deleted
            metadata = find(session, caller, corrected_from).user_metadata
        name = request.name or dataset.filename.removesuffix(".zip") or dataset.filename
        job = Job(
            id=new_id("job"),
            owner=dataset.owner,
            name=name[:200],
            pool=pool,
            created_at=datetime.now(UTC),
            attempt=0,
            dataset_id=dataset_id,
            corrected_from=corrected_from,
            class_names=request.class_names,
            user_metadata=metadata,
            config=request.config,
            requested_config=request.config,
            warnings=[],
            event_seq=0,
            idempotency_digest=owner_digest(caller.owner, idempotency_key)
            if idempotency_key
            else None,
            request_sha256=request_sha256,
            **request_origin(),
        )
        repository.add(session, job)
        quotas.check_job(session, context.settings, job.owner)
        return job.id
