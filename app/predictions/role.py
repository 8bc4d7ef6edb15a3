"""The middleware of a process that only makes predictions (the role `predict`)."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from app.kit.http.errors import NotFound, error_response
from app.kit.http.middleware import refuse
from app.kit.http.rules import rules_of


class PredictionsOnly:
    """Answer 404 to all but predictions, health and metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or rules_of(scope).predicts or rules_of(scope).probe:
            await self.app(scope, receive, send)
            return
        error = NotFound(
            "This process only makes predictions (DSPT_ROLE=predict). Send the request to one with "
            "DSPT_ROLE=api or all.",
            code="predictions_only",
        )
        await refuse(error_response(error), scope, receive, send)
