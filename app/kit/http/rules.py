"""The rules that each route declares: who may call it, and its limits.

Middleware needs them before the body is read, so `FindRules` matches the route first. Matching uses
the application's own routes, so a prefix or a root path changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.datastructures import State
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from app.kit.scopes import Scope as Scope

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_ATTRIBUTE = "dspt_rules"
_SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Rules:
    """What middleware has to know of a route."""

    scope: Scope | None
    """Scope that the caller's key needs; None: no key is needed."""
    probe: bool = False
    """Called by monitoring: never refused under load, logged at debug level, not traced. A probe
    that needs no key is not rate limited either."""
    max_body_bytes: Callable[[State], int] | None = None
    """Largest request body, given `app.state`. Default: DSPT_MAX_BODY_BYTES."""
    before_body: Callable[[Connection], None] | None = None
    """Check that runs on a thread after authorization; an ApiError refuses the request unread."""
    content_security_policy: str | None = None
    """Default: nothing that the response contains may run or be shown."""
    predicts: bool = False
    """Needs image or text towers, so processes with the role `api` forward it."""


def rules(
    scope: Scope | None,
    *,
    probe: bool = False,
    max_body_bytes: Callable[[State], int] | None = None,
    before_body: Callable[[Connection], None] | None = None,
    content_security_policy: str | None = None,
    predicts: bool = False,
) -> Callable[[Endpoint], Endpoint]:
    """Declare the rules of an endpoint; put it below the route's decorator."""
    declared = Rules(scope, probe, max_body_bytes, before_body, content_security_policy, predicts)

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, declared)
        return endpoint

    return declare


def max_upload_bytes(state: State) -> int:
    """`max_body_bytes` of routes that take a zip: DSPT_MAX_UPLOAD_BYTES."""
    limit: int = state.settings.max_upload_bytes
    return limit


class UndeclaredRoute(RuntimeError):
    """Routes of the application declare no rules."""


def check_rules(app: FastAPI) -> None:
    """Raise UndeclaredRoute unless every route of `app` declares its rules."""
    missing = [
        f"{' '.join(sorted(route.methods or ()))} {route.path}".strip()
        for route in iter_route_contexts(app.routes)
        if _declared(route) is None
    ]
    if missing:
        raise UndeclaredRoute(f"routes without @rules(...): {', '.join(missing)}")


def find_rules(routes: Sequence[RouteContext], scope: Connection) -> Rules:
    """The rules of the route that answers a request.

    An unknown path or method needs the same scope as most routes with that method, so that only
    callers with a valid key learn what exists. A wrong method of a public route stays public.
    """
    allowed = None
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return _declared(route) or Rules(Scope.ADMIN)
        if match is Match.PARTIAL:
            allowed = allowed or _declared(route)
    if allowed is not None and allowed.scope is None:
        return allowed
    return Rules(Scope.READ if scope["method"] in _SAFE_METHODS else Scope.SUBMIT)


def rules_of(scope: Connection) -> Rules:
    """The rules that `FindRules` found for this request."""
    found = scope["dspt.rules"]
    assert isinstance(found, Rules)
    return found


class FindRules:
    """Put the rules of the route on the ASGI scope; the outermost middleware that needs them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._routes: list[RouteContext] | None = None

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._routes is None:
                self._routes = list(iter_route_contexts(scope["app"].routes))
            scope["dspt.rules"] = find_rules(self._routes, scope)
        await self.app(scope, receive, send)


def _declared(route: RouteContext) -> Rules | None:
    found = getattr(route.endpoint, _ATTRIBUTE, None)
    return found if isinstance(found, Rules) else None
