"""Authentication, authorization and rate limiting, before the body is read."""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection
from starlette.websockets import WebSocketClose

from app.access.callers import Callers, address_of
from app.access.last_uses import LastUses
from app.access.rate_limits import RateLimits
from app.kit.http.middleware import pass_if
from app.kit.http.rules import Rules, rules_of


class AuthMiddleware:
    """Put the caller on `request.state`, or answer 401, 403 or 429."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self.app = app
        self._callers = callers

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # No websocket routes exist; reject them so that none can bypass authentication.
            await WebSocketClose()(scope, receive, send)
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            await pass_if(self._authorize(scope, rules_of(scope)), self.app, scope, receive, send)

    async def _authorize(self, scope: Connection, rules: Rules) -> None:
        limits: RateLimits = scope["app"].state.rate_limits
        address = address_of(scope)
        if rules.scope is None:
            if not rules.probe:
                await limits.request(address)
            return
        caller = await self._callers.identify(scope)
        structlog.contextvars.bind_contextvars(key_id=caller.key_id)
        await limits.request(caller.key_id or address)
        if caller.key_id is not None:
            last_uses: LastUses = scope["app"].state.last_uses
            last_uses.note(caller.key_id)
        caller.require(rules.scope)
        scope["state"]["caller"] = caller
