"""The HTTP calls about captured predictions and feedback."""

from __future__ import annotations

from typing import Annotated, Any

from dspt_client.schemas.feedback import CapturedView, Order
from dspt_client.schemas.jobs import JobView
from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.dependencies import CallerDep, caller_router
from app.datasets.photos import JPEG, SIZES, Size
from app.feedback import service
from app.feedback.retrain import create_job
from app.feedback.views import view
from app.kit import storage_keys
from app.kit.http.context import ContextDep
from app.kit.http.errors import BadRequest, Conflict, NotFound, StorageFull, Unprocessable, problems
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, rules
from app.kit.http.schema_types import Omittable
from app.leased.accepted import accepted, idempotency_key
from dspt.errors import ImageError

router = caller_router(tags=["feedback"])


class Feedback(BaseModel):
    """The correct class of a photo that was classified with `capture`."""

    model_config = ConfigDict(extra="forbid")

    prediction: str = Field(max_length=100, description="Id of the prediction.")
    label: str = Field(
        min_length=1,
        max_length=500,
        description="The correct class; it may be one that the model does not have.",
    )


@router.post("/feedback", responses=problems(BadRequest, NotFound, Unprocessable))
@rules(Scope.SUBMIT)
def give_feedback(feedback: Feedback, context: ContextDep, caller: CallerDep) -> CapturedView:
    """Give the correct class of a photo; the newest feedback counts.

    A repeated request changes nothing.
    """
    return service.give(context, caller, feedback.prediction, feedback.label)


@router.get("/models/{name}/predictions", responses=problems(NotFound, Unprocessable))
@rules(Scope.READ)
def list_captured(
    name: str,
    context: ContextDep,
    caller: CallerDep,
    order: Annotated[
        Order,
        Query(
            description="`uncertain`: the least certain first, by the margin between the two most "
            "likely classes. `instructive`: uncertain photos that differ from each other and from "
            "those with feedback; one page, without those that have feedback."
        ),
    ] = "newest",
    labelled: Annotated[
        bool | Omittable, Query(description="Only those with feedback, or without.")
    ] = None,
    after: After = None,
    limit: Limit = 20,
) -> Page[CapturedView]:
    """The captured predictions of a model, by its id or an alias."""
    more = 0 if order == "instructive" else 1
    found = service.page(
        context, caller, name, order, labelled=labelled, after=after, limit=limit + more
    )
    return page_of(found, limit)


class Retrain(BaseModel):
    """How to tune again."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(
        default=None, max_length=200, description="Of the job. Default: that of the model."
    )
    config: dict[str, Any] = Field(
        default={}, description="Settings to change; the others are those of the model's job."
    )


@router.post(
    "/models/{name}/retrain",
    status_code=202,
    responses=problems(BadRequest, NotFound, Conflict, StorageFull, Unprocessable),
)
@rules(Scope.SUBMIT)
def retrain(
    name: str,
    request: Request,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    wanted: Retrain,
    idempotency_key: Annotated[str | Omittable, idempotency_key("job")] = None,
) -> JobView:
    """Tune again with all photos of a model, by id or alias, that have feedback.

    They are added to the photos of the model in a new version of their data set; only they are
    encoded, and their labels count as confirmed. The job's `change` has the difference to the
    model's job, on the images that both were measured on.
    """
    created = create_job(context, caller, name, wanted.name, wanted.config, idempotency_key)
    return accepted(request, response, created)


@router.get("/predictions/{prediction_id}", responses=problems(NotFound))
@rules(Scope.READ)
def get_captured(prediction_id: str, context: ContextDep, caller: CallerDep) -> CapturedView:
    """One captured prediction."""
    with context.database.read() as session:
        return view(service.find(session, caller, prediction_id), context.settings)


@router.get(
    "/predictions/{prediction_id}/image",
    response_class=Response,
    responses={**JPEG, **problems(NotFound, Unprocessable)},
)
@rules(Scope.READ)
def get_captured_image(
    prediction_id: str,
    context: ContextDep,
    caller: CallerDep,
    size: Size = "192",
) -> Response:
    """The photo of a captured prediction."""
    from dspt.data.images import as_jpeg  # imports Pillow

    with context.database.read() as session:
        service.find(session, caller, prediction_id)
    try:
        data = context.storage.read_bytes(storage_keys.capture(prediction_id))
    except FileNotFoundError as error:
        raise NotFound("The photo is missing from the storage.", code="photo_not_found") from error
    try:
        picture = as_jpeg(data, SIZES[size])
    except ImageError as error:
        raise Unprocessable(error.message, code="unreadable_photo") from error
    # An hour: the photo never changes, but it is deleted.
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(picture, media_type="image/jpeg", headers=headers)


@router.delete("/predictions/{prediction_id}", status_code=204, responses=problems(NotFound))
@rules(Scope.SUBMIT)
def delete_captured(prediction_id: str, context: ContextDep, caller: CallerDep) -> None:
    """Delete a captured prediction, its photo and the feedback on it."""
    service.delete(context, caller, prediction_id)
