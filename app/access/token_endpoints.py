"""The HTTP call that issues tokens for one path."""

from __future__ import annotations

from typing import Annotated

from dspt_client.schemas.tokens import TokenView
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from app.access.dependencies import CallerDep, caller_router
from app.access.path_tokens import PathTokens
from app.kit.http.errors import BadRequest, Unprocessable, problems
from app.kit.http.rules import Scope, rules
from dspt.kit.text_pattern import TextPattern

router = caller_router("/tokens", tags=["session"])


class NewToken(BaseModel):
    """The path that the token is for."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[
        str,
        TextPattern(
            r"^/([A-Za-z0-9._~-][A-Za-z0-9._~/-]*)?$",
            "must be a path such as /jobs: a / and then letters, digits and the characters "
            ". _ ~ - /, without a host or a query",
        ),
    ] = Field(
        max_length=500,
        description="Of one GET call, without a query, such as `/jobs/{id}/events` or "
        "`/datasets/{id}/images/{number}`.",
    )


@router.post("", status_code=201, responses=problems(BadRequest, Unprocessable))
@rules(Scope.READ)
def create_token(wanted: NewToken, request: Request, caller: CallerDep) -> TokenView:
    """A token for one path, where a header cannot be sent: `EventSource`, `<img>`.

    Send it as `?token=`. It is valid for 5 minutes, for GET, and as long as the API key that you
    send here. A stream that is open by then goes on. It is never logged.
    """
    tokens: PathTokens = request.app.state.path_tokens
    token, ends = tokens.issue(caller, wanted.path)
    url = f"{wanted.path}?token={token}"
    return TokenView(token=token, path=wanted.path, url=url, expires_at=ends)
