"""The HTTP calls about jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from dspt_client.schemas.jobs import EventList, JobView
from dspt_client.schemas.status import Status
from fastapi import FastAPI, File, Form, Header, Query, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.access.dependencies import CallerDep, caller_router
from app.datasets import service as datasets
from app.jobs import service, views
from app.jobs.events import stream
from app.jobs.events.feed import Feed
from app.jobs.intake.admission import check_quota_early
from app.jobs.intake.requests import JobRequest
from app.jobs.repository import MAX_SEQ
from app.kit.http.context import ContextDep
from app.kit.http.errors import (
    UPLOAD_ERRORS,
    BadRequest,
    Conflict,
    NotFound,
    Unprocessable,
    missing,
    problems,
)
from app.kit.http.filters import Backbone, FiltersDep
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, max_upload_bytes, rules
from app.kit.http.schema_types import Omittable
from app.kit.metadata import FORM, MetadataUpdate
from app.leased.accepted import accepted, idempotency_key


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.job_views` and `app.state.feed`."""
    app.state.job_views = views.JobViewCache(app.state.context, app.state.reader)
    app.state.feed = feed = Feed(app.state.context)
    app.state.stop.at_close(feed.stop)
    try:
        yield
    finally:
        await feed.close()


router = caller_router("/jobs", tags=["jobs"], lifespan=_lifespan)


@router.post(
    "",
    status_code=202,
    responses=problems(*UPLOAD_ERRORS, NotFound, Conflict),
)
@rules(Scope.SUBMIT, max_body_bytes=max_upload_bytes, before_body=check_quota_early)
def create_job(
    request: Request,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    dataset: Annotated[
        UploadFile | Omittable, File(description="Zip with one folder of images per class.")
    ] = None,
    dataset_id: Annotated[
        str | Omittable, Form(description="Id of an earlier data set, instead of `dataset`.")
    ] = None,
    config: Annotated[
        str | Omittable, Form(description='Settings as JSON, such as `{"epochs": 100}`.')
    ] = None,
    class_names: Annotated[
        str | Omittable, Form(description="JSON object: class folder -> class words of the prompt.")
    ] = None,
    name: Annotated[str | Omittable, Form(max_length=200)] = None,
    metadata: Annotated[str | Omittable, Form(description=FORM)] = None,
    idempotency_key: Annotated[str | Omittable, idempotency_key("job")] = None,
) -> JobView:
    """Upload labelled photos and tune a classifier on them."""
    wanted = JobRequest.parse(
        name=name,
        config=config,
        class_names=class_names,
        metadata=metadata,
        local_backbones=context.settings.local_backbones,
    )
    if (dataset is None) == (dataset_id is None):
        raise missing("dataset", "Send exactly one of `dataset` (a zip file) and `dataset_id`.")
    source: datasets.Upload | str
    if dataset is not None:
        source = datasets.receive(dataset.file, dataset.filename)
    else:
        source = dataset_id or ""
    created = service.create(context, caller, wanted, source, idempotency_key)
    return accepted(request, response, created)


@router.post(
    "/check",
    status_code=204,
    responses=problems(Unprocessable),
)
@rules(Scope.SUBMIT)
def check_job(
    context: ContextDep,
    config: Annotated[
        str | Omittable, Form(description="As in `POST /jobs`, like the other fields.")
    ] = None,
    class_names: Annotated[str | Omittable, Form()] = None,
    name: Annotated[str | Omittable, Form(max_length=200)] = None,
    metadata: Annotated[str | Omittable, Form()] = None,
) -> None:
    """Check the settings of a job before its photos are uploaded; no job is created."""
    JobRequest.parse(
        name=name,
        config=config,
        class_names=class_names,
        metadata=metadata,
        local_backbones=context.settings.local_backbones,
    )


@router.get("", responses=problems(Unprocessable))
@rules(Scope.READ)
def list_jobs(
    context: ContextDep,
    caller: CallerDep,
    filters: FiltersDep,
    after: After = None,
    limit: Limit = 20,
    status: Annotated[Status | Omittable, Query()] = None,
    backbone: Backbone = None,
) -> Page[JobView]:
    """Jobs, newest first.

    Without class words, classes, rejected files, problems of the data set, and the metrics of
    each class, which may be large: `GET /jobs/{job_id}` has them.
    """
    with context.database.read() as session:
        jobs = views.page(
            session,
            context,
            caller,
            after=after,
            limit=limit + 1,
            status=status,
            backbone=backbone,
            filters=filters,
        )
    return page_of(jobs, limit)


@router.get("/{job_id}", response_model=JobView, responses=problems(NotFound))
@rules(Scope.READ)
async def get_job(job_id: str, request: Request, caller: CallerDep) -> Response:
    """One job."""
    job_views: views.JobViewCache = request.app.state.job_views
    return Response(await job_views.get_json(caller, job_id), media_type="application/json")


@router.get(
    "/{job_id}/events",
    response_model=EventList,
    responses={
        200: {
            "description": "A list; with `Accept: text/event-stream`, a stream that ends after the "
            "last event of the job.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(BadRequest, NotFound),
    },
)
@rules(Scope.READ)
async def list_events(
    job_id: str,
    request: Request,
    context: ContextDep,
    caller: CallerDep,
    after: Annotated[
        int, Query(ge=0, le=MAX_SEQ, description="Number of the last event already read.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    last_event_id: Annotated[
        str | Omittable, Header(description="Sent by a client that reconnects to the stream.")
    ] = None,
) -> Any:
    """Events of a job."""
    job_views: views.JobViewCache = request.app.state.job_views
    await job_views.check(caller, job_id)
    if "text/event-stream" not in accept:
        return await run_in_threadpool(stream.page, context, job_id, after=after, limit=limit)
    if last_event_id is not None:
        if not (last_event_id.isdecimal() and int(last_event_id) <= MAX_SEQ):
            raise BadRequest("Last-Event-ID must be the id of an event.", code="bad_event_id")
        after = int(last_event_id)
    return stream.EventStream(request.app.state.feed, job_id, after)


@router.patch("/{job_id}", responses=problems(BadRequest, NotFound, Unprocessable))
@rules(Scope.SUBMIT)
def update_job(
    job_id: str, wanted: MetadataUpdate, context: ContextDep, caller: CallerDep
) -> JobView:
    """Replace the metadata of a job."""
    return service.set_metadata(context, caller, job_id, wanted.metadata)


@router.post("/{job_id}/cancel", status_code=202, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def cancel_job(job_id: str, context: ContextDep, caller: CallerDep) -> JobView:
    """Cancel a job. A running job stops after its current step."""
    return service.cancel(context, caller, job_id)


@router.post("/{job_id}/retry", status_code=202, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def retry_job(job_id: str, request: Request, context: ContextDep, caller: CallerDep) -> JobView:
    """Retry a failed or cancelled job with the same photos and settings."""
    job = service.retry(context, caller, job_id)
    request.app.state.housekeeper.wake()
    return job


@router.delete("/{job_id}", status_code=204, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def delete_job(job_id: str, context: ContextDep, caller: CallerDep) -> None:
    """Delete a finished job; its model stays."""
    service.delete(context, caller, job_id)
