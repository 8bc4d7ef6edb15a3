"""The caller of a request and the caller's permissions.

Endpoints take `CallerDep` where they need it; all calls of a `caller_router` need a valid caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import HTTPBearer

from app.kit.http.errors import Forbidden, TooManyRequests, Unauthorized, Unprocessable, problems
from app.kit.http.known_names import refuse_unknown_names
from app.kit.http.routers import public_router
from app.kit.http.rules import Scope
from app.kit.ids import LOCAL_OWNER

CHALLENGE = 'Bearer realm="dspt"'


@dataclass(frozen=True)
class Caller:
    """The sender of a request."""

    owner: str
    """Owner of what the caller creates; without admin scope, of all that the caller sees."""
    scopes: frozenset[Scope]
    key_id: str | None = None
    """The API key used; None if the service runs without keys."""

    @property
    def limited_as(self) -> str:
        """The name under which the caller's images are counted."""
        return self.key_id or self.owner

    def may(self, scope: Scope) -> bool:
        return bool(self.scopes & {scope, Scope.ADMIN})

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the caller may make calls of `scope`."""
        if not self.may(scope):
            raise Forbidden(
                f"This call needs a key with the scope `{scope}`; this key has "
                f"{' and '.join(f'`{has}`' for has in sorted(self.scopes))}.",
                code="scope_missing",
                headers={
                    "WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
                },
            )

    def sees(self, owner: str) -> bool:
        """Return whether this caller may see resources of `owner`."""
        return self.only_owner in (None, owner)

    @property
    def only_owner(self) -> str | None:
        """The only owner whose resources the caller may see; None: all owners."""
        return None if Scope.ADMIN in self.scopes else self.owner


#: Any caller on the machine of a service without keys, with all permissions.
LOCAL = Caller(LOCAL_OWNER, frozenset(Scope))


_bearer = HTTPBearer(
    scheme_name="API key",
    auto_error=False,
    description="`Authorization: Bearer dspt_...`, a key that the operator created with "
    "`dspt keys create`. Until the first key is created, programs of the service's own user on "
    "its own machine need no key.",
)


async def get_caller(request: Request, _shown: Annotated[object, Security(_bearer)]) -> Caller:
    """Return the caller authenticated by the middleware."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


def caller_router(prefix: str = "", **options: Any) -> APIRouter:
    """Return a router for calls that need a caller. options: those of APIRouter."""
    return public_router(
        prefix,
        dependencies=[Depends(get_caller), Depends(refuse_unknown_names)],
        responses=problems(Unauthorized, Forbidden, TooManyRequests, Unprocessable),
        **options,
    )
