"""The HTTP calls about what a job found: its audit, its predictions, and corrections of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from dspt_client.schemas.jobs import AuditView, JobView
from dspt_client.schemas.predictions import JobPredictions
from fastapi import Header, Query, Request, Response
from pydantic import Field
from starlette.responses import StreamingResponse

from app.access.dependencies import CallerDep, caller_router
from app.datasets.dependencies import ShelfDep
from app.jobs.review import audit, corrections, predictions, verdicts
from app.kit.http.context import BodyDep, ContextDep
from app.kit.http.errors import UPLOAD_ERRORS, Conflict, NotFound, Unprocessable, problems
from app.kit.http.paging import NOT_A_CURSOR
from app.kit.http.rules import Scope, rules
from app.kit.http.schema_types import Omittable
from app.leased.accepted import accepted, idempotency_key
from dspt.kit.text_pattern import TextPattern

router = caller_router("/jobs", tags=["jobs"])

_AUDIT_PAGE = 1000
_After = Annotated[
    Annotated[str, TextPattern(r"^\d{0,15}$", NOT_A_CURSOR)] | Omittable,
    Query(description="`next` of the previous page."),
]


@router.get(
    "/{job_id}/audit",
    response_model=AuditView,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        **problems(NotFound, Conflict, Unprocessable),
    },
)
@rules(Scope.READ)
def get_audit(
    job_id: str,
    context: ContextDep,
    caller: CallerDep,
    shelf: ShelfDep,
    format: Annotated[Literal["json", "csv"], Query()] = "json",
    suspect: Annotated[
        bool | Omittable, Query(description="Only the labels to check, or only the others.")
    ] = None,
    given: Annotated[
        str | Omittable, Query(max_length=1000, description="Only files with this given label.")
    ] = None,
    reviewed: Annotated[
        bool | Omittable,
        Query(description="Only files that have a verdict in the review, or only the others."),
    ] = None,
    limit: Annotated[
        Annotated[int, Field(ge=1, le=5000)] | Omittable,
        Query(description="Entries per page of JSON. Default: all entries."),
    ] = None,
    after: _After = None,
) -> Any:
    """The labels to check, most suspicious first."""
    found = audit.find(context, caller, job_id)
    files = () if reviewed is None else verdicts.files_reviewed(context, job_id)
    wanted = audit.Wanted(suspect, given, reviewed, files)
    if format == "csv":
        return StreamingResponse(
            found.as_csv(wanted),
            media_type="text/csv",
            headers={"Content-Disposition": f'attachment; filename="{job_id}-audit.csv"'},
        )
    if limit is None and not after:
        return StreamingResponse(found.as_json(wanted), media_type="application/json")
    numbers = shelf.numbers(found.dataset_id)
    page = found.page(wanted, numbers, after=after, limit=limit or _AUDIT_PAGE)
    return Response(page.model_dump_json(), media_type="application/json")


@router.get("/{job_id}/predictions", responses=problems(NotFound, Conflict, Unprocessable))
@rules(Scope.READ)
def list_job_predictions(
    job_id: str,
    context: ContextDep,
    caller: CallerDep,
    shelf: ShelfDep,
    label: Annotated[
        str | Omittable, Query(max_length=1000, description="Only images with this label.")
    ] = None,
    predicted: Annotated[
        str | Omittable, Query(max_length=1000, description="Only images predicted as this class.")
    ] = None,
    right: Annotated[
        bool | Omittable, Query(description="Only right predictions, or only wrong ones.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=5000, description="Entries per page.")] = 1000,
    after: _After = None,
) -> JobPredictions:
    """Predictions for the images that the accuracy of the job was measured on."""
    return predictions.page(
        context,
        caller,
        shelf,
        job_id,
        after=after,
        limit=limit,
        label=label,
        predicted=predicted,
        right=right,
    )


@router.post(
    "/{job_id}/corrections",
    status_code=202,
    responses=problems(*UPLOAD_ERRORS, NotFound, Conflict),
    openapi_extra={"requestBody": {"required": True, "content": corrections.CONTENT_TYPES}},
)
@rules(Scope.SUBMIT)
def correct_job(
    job_id: str,
    request: Request,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    body: BodyDep,
    content_type: Annotated[str, Header(include_in_schema=False)] = "",
    name: Annotated[
        str | Omittable,
        Query(
            max_length=200,
            description="Name of the new job, for a CSV; JSON has a field for it. Default: the "
            "name of this job with `(corrected)`.",
        ),
    ] = None,
    idempotency_key: Annotated[str | Omittable, idempotency_key("job")] = None,
) -> JobView:
    """Correct or confirm labels, drop images, and tune again in a new job.

    This job stays unchanged. The new one is measured on the same images; its `change` has the
    difference.
    """
    created = corrections.create(context, caller, job_id, content_type, body, name, idempotency_key)
    return accepted(request, response, created)
