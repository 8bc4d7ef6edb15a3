"""The HTTP call that adds classes to a model."""

from __future__ import annotations

from dspt_client.schemas.models import ModelView
from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from app.access.caller import Caller
from app.access.dependencies import CallerDep, caller_router
from app.kit.context import Context
from app.kit.http.context import ContextDep
from app.kit.http.errors import (
    UPLOAD_ERRORS,
    Conflict,
    GatewayTimeout,
    NotFound,
    ServiceUnavailable,
    problems,
)
from app.kit.http.rules import Scope, rules
from app.models.service import find
from app.predictions.dependencies import InferenceDep
from app.predictions.service import Deadline
from app.releases import new_classes
from app.releases.schemas import NewClasses
from app.tables.models import Model

router = caller_router("/models", tags=["models"])


@router.post(
    "/{model_id}/classes",
    status_code=201,
    responses=problems(*UPLOAD_ERRORS, NotFound, Conflict, ServiceUnavailable, GatewayTimeout),
)
@rules(Scope.SUBMIT, predicts=True)
async def add_classes(
    model_id: str,
    wanted: NewClasses,
    request: Request,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    inference: InferenceDep,
) -> ModelView:
    """Create a new classifier with further classes by name, without photos of them.

    The original classifier stays. Its metrics are not measured again: see `metrics.before`.
    """
    async with Deadline(request.app.state.predict_settings):
        parent = await run_in_threadpool(_found, context, caller, model_id)
        model = await new_classes.add_classes(context, inference, parent, wanted.classes)
    response.headers["Location"] = model.links["self"]
    return model


def _found(context: Context, caller: Caller, model_id: str) -> Model:
    with context.database.read() as session:
        return find(session, caller, model_id)
