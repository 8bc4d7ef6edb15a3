"""The HTTP calls about comparisons."""

from __future__ import annotations

from typing import Annotated

from dspt_client.schemas.comparisons import ComparisonJobView, ComparisonView
from fastapi import Request, Response

from app.access.dependencies import CallerDep, caller_router
from app.comparisons import direct, service
from app.comparisons.repository import COMPARISONS
from app.comparisons.schemas import ComparisonJobRequest, ComparisonRequest
from app.comparisons.views import view
from app.jobs.intake.requests import checked_name
from app.kit.http.context import ContextDep
from app.kit.http.errors import (
    BODY_ERRORS,
    Conflict,
    NotFound,
    ServiceUnavailable,
    Unprocessable,
    problems,
)
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, rules
from app.kit.http.schema_types import Omittable
from app.leased import service as leased
from app.leased.accepted import accepted, idempotency_key
from app.predictions.dependencies import InferenceDep
from app.predictions.service import Deadline

router = caller_router("/comparisons", tags=["comparisons"])
models_router = caller_router("/models", tags=["models"])


@router.post(
    "",
    status_code=202,
    responses=problems(*BODY_ERRORS, NotFound, Conflict, ServiceUnavailable),
)
@rules(Scope.SUBMIT)
def create_comparison(
    wanted: ComparisonJobRequest,
    request: Request,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    idempotency_key: Annotated[str | Omittable, idempotency_key("comparison")] = None,
) -> ComparisonJobView:
    """Compare two models on the same images in the background, by a worker.

    Default: the test part of the data set that both were tuned on; without one, the images that the
    jobs of both held out, with the labels of the newer job. To compare on other photos, upload them
    with `POST /datasets` first. A worker that dies or stops loses nothing: images that are encoded
    already are not encoded again on that machine.
    """
    wanted = wanted.model_copy(update={"name": checked_name(wanted.name)})
    created = service.create(context, caller, wanted, idempotency_key)
    return accepted(request, response, created)


@router.get("", responses=problems(Unprocessable))
@rules(Scope.READ)
def list_comparisons(
    context: ContextDep, caller: CallerDep, after: After = None, limit: Limit = 20
) -> Page[ComparisonJobView]:
    """Comparisons, newest first, without their results."""
    with context.database.read() as session:
        found = COMPARISONS.page(session, owner=caller.only_owner, after=after, limit=limit + 1)
        return page_of([view(each, result=False) for each in found], limit)


@router.get("/{comparison_id}", responses=problems(NotFound))
@rules(Scope.READ)
def get_comparison(comparison_id: str, context: ContextDep, caller: CallerDep) -> ComparisonJobView:
    """One comparison, with its result once it has succeeded."""
    with context.database.read() as session:
        return view(leased.find(COMPARISONS, session, caller, comparison_id))


@router.post("/{comparison_id}/cancel", status_code=202, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def cancel_comparison(
    comparison_id: str, context: ContextDep, caller: CallerDep
) -> ComparisonJobView:
    """Cancel a comparison."""
    with context.database.write() as session:
        return view(leased.cancel(COMPARISONS, session, caller, comparison_id))


@router.post(
    "/{comparison_id}/retry",
    status_code=202,
    responses=problems(NotFound, Conflict, ServiceUnavailable),
)
@rules(Scope.SUBMIT)
def retry_comparison(
    comparison_id: str, request: Request, context: ContextDep, caller: CallerDep
) -> ComparisonJobView:
    """Queue a failed or cancelled comparison again."""
    with context.database.write() as session:
        settings = context.settings
        found = view(leased.retry(COMPARISONS, session, settings, caller, comparison_id, {}))
    request.app.state.housekeeper.wake()
    return found


@router.delete("/{comparison_id}", status_code=204, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def delete_comparison(comparison_id: str, context: ContextDep, caller: CallerDep) -> None:
    """Delete an ended comparison. The models and the data set stay."""
    with context.database.write() as session:
        leased.delete(COMPARISONS, session, caller, comparison_id)


@models_router.post(
    "/compare",
    responses=problems(*BODY_ERRORS, NotFound, Conflict, ServiceUnavailable),
)
@rules(Scope.READ, predicts=True)
async def compare_models(
    wanted: ComparisonRequest,
    request: Request,
    context: ContextDep,
    caller: CallerDep,
    inference: InferenceDep,
) -> ComparisonView:
    """Compare two models on the same test images, class by class.

    Default: the test part of the data set that both were tuned on; without one, the images that the
    jobs of both held out, with the labels of the newer job. The API itself computes it while the
    caller waits; `POST /comparisons` leaves it to a worker.
    """
    async with Deadline(request.app.state.predict_settings):
        return await direct.compare(context, inference, caller, wanted)
