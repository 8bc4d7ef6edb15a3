"""Who asks, and what he may do. Endpoints take `CallerDep`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from app.kit.http.rules import Scope
from app.kit.ids import LOCAL_OWNER


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request."""

    owner: str
    """Whose things he makes, and sees unless he is an admin."""
    scopes: frozenset[Scope]
    key_id: str | None = None
    """The key that he showed; None where the service runs without keys."""

    def may(self, scope: Scope) -> bool:
        return bool(self.scopes & {scope, Scope.ADMIN})

    def sees(self, owner: str) -> bool:
        """Whether what belongs to `owner` exists as far as he is concerned."""
        return self.only_owner in (None, owner)

    @property
    def only_owner(self) -> str | None:
        """The one whose things he sees; None for everybody's."""
        return None if Scope.ADMIN in self.scopes else self.owner


#: Whoever sits at a machine whose service runs without keys: all of it is his.
LOCAL = Caller(LOCAL_OWNER, frozenset(Scope))


_bearer = HTTPBearer(
    scheme_name="API key",
    auto_error=False,
    description="`Authorization: Bearer dspt_...`, a key that the operator made with "
    "`dspt keys create`. On a machine where no key was ever made, requests from this machine "
    "itself need none.",
)


async def get_caller(request: Request, _shown: Annotated[object, Security(_bearer)]) -> Caller:
    """Whom the middleware let through; that it did so does not depend on this."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]
