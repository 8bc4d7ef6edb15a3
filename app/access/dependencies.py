"""The caller as a parameter of endpoints.

Endpoints take `CallerDep` where they need it; all calls of a `caller_router` need a valid caller.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import HTTPBearer

from app.access.caller import Caller
from app.kit.http.errors import Forbidden, TooManyRequests, Unauthorized, Unprocessable, problems
from app.kit.http.known_names import refuse_unknown_names
from app.kit.http.routers import public_router

#: Documents that a call needs a caller; the middleware has authenticated it.
needs_key = Security(
    HTTPBearer(
        scheme_name="API key",
        auto_error=False,
        description="`Authorization: Bearer dspt_...`, a key that the operator created with "
        "`dspt keys create`. Until the first key is created, programs of the service's own user on "
        "its own machine need no key.",
    )
)


async def get_caller(request: Request) -> Caller:
    """Return the caller authenticated by the middleware."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


# One dependency: FastAPI analyses each of them anew for every call.
async def _check(request: Request, _: Annotated[object, needs_key]) -> None:
    await get_caller(request)
    await refuse_unknown_names(request)


def caller_router(prefix: str = "", **options: Any) -> APIRouter:
    """Return a router for calls that need a caller. options: those of APIRouter."""
    return public_router(
        prefix,
        dependencies=[Depends(_check)],
        responses=problems(Unauthorized, Forbidden, TooManyRequests, Unprocessable),
        **options,
    )
