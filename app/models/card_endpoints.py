"""The HTTP call for model cards."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Response

from app.access.dependencies import CallerDep, caller_router
from app.kit.http.context import ContextDep
from app.kit.http.errors import Conflict, NotFound, Unprocessable, problems
from app.kit.http.rules import Scope, rules
from app.models import cards
from dspt.report.card.schema import ModelCard

router = caller_router("/models", tags=["models"])


@router.get(
    "/{model_id}/card",
    response_model=ModelCard,
    responses={
        200: {
            "content": {
                "text/markdown": {"schema": {"type": "string"}},
                "image/svg+xml": {"schema": {"type": "string"}},
            }
        },
        **problems(NotFound, Conflict, Unprocessable),
    },
)
@rules(Scope.READ)
def get_card(
    model_id: str,
    context: ContextDep,
    caller: CallerDep,
    format: Annotated[
        Literal["json", "markdown", "svg"],
        Query(description="svg: the training curves only, if the job is known."),
    ] = "json",
) -> Any:
    """Model card: training data, settings, metrics and their limits."""
    from dspt.report.card import curves_svg, to_markdown

    card = cards.read(context, caller, model_id)
    if format == "json":
        return card
    if format == "markdown":
        return _file(to_markdown(card), "text/markdown; charset=utf-8", f"{model_id}.md")
    if not card.epochs:
        raise NotFound("This model has no training curves.", code="no_curves")
    return _file(curves_svg(card.epochs), "image/svg+xml", f"{model_id}.svg")


def _file(text: str, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=media_type, headers=headers)
