"""The HTTP calls about batches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from dspt_client.schemas.batches import BatchView
from fastapi import File, Form, Query, Request, Response, UploadFile
from pydantic import Field
from starlette.responses import StreamingResponse

from app.access.dependencies import CallerDep, caller_router
from app.batches import repository, service, views
from app.batches.repository import BATCHES
from app.datasets import service as datasets
from app.jobs.intake.requests import checked_name
from app.kit.http.context import ContextDep
from app.kit.http.errors import (
    UPLOAD_ERRORS,
    Conflict,
    NotFound,
    ServiceUnavailable,
    Unprocessable,
    missing,
    problems,
)
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, max_upload_bytes, rules
from app.kit.http.schema_types import Omittable
from app.leased.accepted import accepted, idempotency_key
from app.leased.service import find
from app.quotas.early import check_bytes_early

router = caller_router("/batches", tags=["batches"])


@router.post(
    "",
    status_code=202,
    responses=problems(*UPLOAD_ERRORS, NotFound, Conflict, ServiceUnavailable),
)
@rules(Scope.SUBMIT, max_body_bytes=max_upload_bytes, before_body=check_bytes_early)
def create_batch(
    request: Request,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    model: Annotated[str, Form(min_length=1, description="Id of a tuned classifier, or an alias.")],
    archive: Annotated[
        UploadFile | Omittable, File(description="Zip of images, in folders or not.")
    ] = None,
    dataset_id: Annotated[
        str | Omittable,
        Form(description="Id of a data set whose images are classified, instead of `archive`."),
    ] = None,
    name: Annotated[
        str | Omittable, Form(max_length=200, description="Default: the name of the zip.")
    ] = None,
    top_k: Annotated[int, Form(ge=1, le=1000, description="Classes to return per image.")] = 5,
    reject_below: Annotated[
        Annotated[float, Field(ge=0, le=1)] | Omittable,
        Form(description="Return no label if the most likely class is less probable than this."),
    ] = None,
    idempotency_key: Annotated[str | Omittable, idempotency_key("batch")] = None,
) -> BatchView:
    """Classify thousands of images in the background, by a worker.

    All images of the zip are classified, in the order of their paths. Each result is stored once,
    also if a worker is stopped or dies: the next one continues after the last stored result.
    """
    if (archive is None) == (dataset_id is None):
        raise missing("archive", "Send exactly one of `archive` (a zip file) and `dataset_id`.")
    wanted = service.BatchRequest(model, checked_name(name), top_k, reject_below)
    images: datasets.Upload | str = dataset_id or ""
    if archive is not None:
        images = datasets.receive(archive.file, archive.filename)
    created = service.create(context, caller, wanted, images, idempotency_key)
    return accepted(request, response, created)


@router.get("", responses=problems(Unprocessable))
@rules(Scope.READ)
def list_batches(
    context: ContextDep, caller: CallerDep, after: After = None, limit: Limit = 20
) -> Page[BatchView]:
    """Batches, newest first."""
    with context.database.read() as session:
        found = BATCHES.page(session, owner=caller.only_owner, after=after, limit=limit + 1)
    return page_of([views.view(each) for each in found], limit)


@router.get("/{batch_id}", responses=problems(NotFound))
@rules(Scope.READ)
def get_batch(batch_id: str, context: ContextDep, caller: CallerDep) -> BatchView:
    """One batch, with the number of images done."""
    with context.database.read() as session:
        return views.view(find(BATCHES, session, caller, batch_id))


@router.get(
    "/{batch_id}/results",
    response_class=Response,
    responses={
        200: {
            "description": "One line per image: a prediction as `POST /predict` returns it.",
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        **problems(NotFound, Unprocessable),
    },
)
@rules(Scope.READ)
def get_batch_results(
    batch_id: str,
    context: ContextDep,
    caller: CallerDep,
    format: Annotated[Literal["ndjson", "csv"], Query()] = "ndjson",
    after: Annotated[
        int, Query(ge=0, le=2**31 - 1, description="Number of results already read.")
    ] = 0,
) -> Any:
    """The results so far, in the order of the images; all of them once it has succeeded."""
    with context.database.read() as session:
        find(BATCHES, session, caller, batch_id)
    results = repository.results(context, batch_id, after)
    name = {"Content-Disposition": f'attachment; filename="{batch_id}.{format}"'}
    if format == "csv":
        return StreamingResponse(views.as_csv(results), media_type="text/csv", headers=name)
    lines = views.as_ndjson(results)
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=name)


@router.post("/{batch_id}/cancel", status_code=202, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def cancel_batch(batch_id: str, context: ContextDep, caller: CallerDep) -> BatchView:
    """Cancel a batch. Its results so far stay."""
    return service.cancel(context, caller, batch_id)


@router.post(
    "/{batch_id}/retry",
    status_code=202,
    responses=problems(NotFound, Conflict, ServiceUnavailable),
)
@rules(Scope.SUBMIT)
def retry_batch(
    batch_id: str, request: Request, context: ContextDep, caller: CallerDep
) -> BatchView:
    """Continue a failed or cancelled batch after its last result."""
    batch = service.retry(context, caller, batch_id)
    request.app.state.housekeeper.wake()
    return batch


@router.delete("/{batch_id}", status_code=204, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def delete_batch(batch_id: str, context: ContextDep, caller: CallerDep) -> None:
    """Delete an ended batch with its results."""
    service.delete(context, caller, batch_id)
