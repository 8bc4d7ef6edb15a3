"""The HTTP calls that sign a browser in and out."""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from typing import Literal

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from app.access import keys, sessions
from app.access.caller import LOCAL, Caller
from app.access.callers import address_of
from app.access.cross_site import check_own_page
from app.access.dependencies import CallerDep, needs_key
from app.access.rate_limits import RateLimits
from app.kit.batched_reader import BatchedReader
from app.kit.context import Context
from app.kit.http.context import ContextDep
from app.kit.http.errors import (
    BadRequest,
    Forbidden,
    TooManyRequests,
    Unauthorized,
    Unprocessable,
    problems,
)
from app.kit.http.routers import public_router
from app.kit.http.rules import Scope, rules

router = public_router("/session", tags=["session"])


class SignIn(BaseModel):
    """An API key, or the token of the link that `dspt serve` prints."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = Field(default=None, min_length=1, max_length=1000)
    link: str | None = Field(default=None, min_length=1, max_length=1000)


class SessionView(BaseModel):
    """The caller as the service sees it."""

    object: Literal["session"] = "session"
    owner: str = Field(description="Owner of what the caller creates.")
    scopes: list[Scope]
    key_id: str | None = Field(description="API key in use; null without keys.")
    signed_in: bool = Field(description="Whether the caller has the cookie of a session.")
    ends_at: datetime | None = Field(
        default=None, description="When a session that has just started ends if it is not used."
    )
    demo_photos: bool = Field(
        description="Whether `POST /datasets/demo` can make photographs to try the service with."
    )


@router.post(
    "",
    status_code=201,
    responses=problems(BadRequest, Unauthorized, Forbidden, TooManyRequests, Unprocessable),
)
@rules(None)
async def sign_in(
    wanted: SignIn, request: Request, response: Response, context: ContextDep
) -> SessionView:
    """Start a session for the page, and set its cookie.

    It has the owner and the scopes of the key. It ends with the key, 12 hours after its last
    request, and after 7 days at the latest.
    """
    check_own_page(request.scope)
    if (wanted.key is None) == (wanted.link is None):
        raise Unprocessable("Send exactly one of `key` and `link`.")
    caller = await _caller(wanted, request)
    token, ends_at = await run_in_threadpool(_start, context, caller)
    sessions.set_cookie(response, request.scope, token)
    return _view(caller, signed_in=True, ends_at=ends_at)


@router.get(
    "",
    dependencies=[needs_key],
    responses=problems(Unauthorized, Forbidden, TooManyRequests),
)
@rules(Scope.READ)
async def get_session(request: Request, caller: CallerDep) -> SessionView:
    """The caller: its owner and scopes."""
    return _view(caller, signed_in=request.state.signed_in)


@router.delete("", status_code=204, responses=problems(Forbidden, TooManyRequests))
@rules(None)
async def sign_out(request: Request, response: Response, context: ContextDep) -> None:
    """End the session of the cookie, and make the browser forget what it has cached."""
    check_own_page(request.scope)
    token = sessions.token_of(request.scope)
    if token is not None:
        await run_in_threadpool(_end, context, token)
    sessions.delete_cookie(response, request.scope)
    response.headers["Clear-Site-Data"] = '"cache"'


async def _caller(wanted: SignIn, request: Request) -> Caller:
    state = request.app.state
    if wanted.link is not None:
        link: sessions.SignInLink = state.sign_in_link
        if link.use(wanted.link):
            return LOCAL
        message = "This link was used before. Sign in with an API key, or restart `dspt serve`."
    else:
        reader: BatchedReader = state.reader
        caller = await reader.query(keys.callers_with, (wanted.key or "").strip())
        if caller is not None:
            return caller
        message = "The API key is invalid, has expired or was revoked."
    limits: RateLimits = state.rate_limits
    await limits.failure(address_of(request.scope))
    raise Unauthorized(message, code="key_invalid")


def _start(context: Context, caller: Caller) -> tuple[str, datetime]:
    with context.database.write() as session:
        return sessions.start(session, caller.key_id)


def _end(context: Context, token: str) -> None:
    with context.database.write() as session:
        sessions.end(session, token)


def _view(caller: Caller, *, signed_in: bool, ends_at: datetime | None = None) -> SessionView:
    return SessionView(
        owner=caller.owner,
        scopes=sorted(caller.scopes, key=list(Scope).index),
        key_id=caller.key_id,
        signed_in=signed_in,
        ends_at=ends_at,
        demo_photos=find_spec("skimage") is not None,
    )
