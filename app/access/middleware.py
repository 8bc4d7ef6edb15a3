"""The door: who asks, whether he may, and how often. All of it before a body is read."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection
from starlette.websockets import WebSocketClose

from app.access import keys
from app.access.caller import LOCAL, Caller, scope_of
from app.access.loopback import check_local
from app.access.rates import Rates
from app.kit.errors import Forbidden, Unauthorized
from app.kit.lookups import BatchedReader
from app.kit.middleware import pass_if

#: Probes need no key and are not counted: whoever asks them decides whether this process lives.
_PROBES = "/health/"
#: What the service can do is no secret.
_PUBLIC = frozenset({"/docs", "/openapi.json"})
_HOW = 'Bearer realm="dspt"'


class Access:
    """Put the caller on `request.state`, or answer 401, 403 or 429 in the endpoint's place."""

    def __init__(self, app: ASGIApp, requests_per_minute: int) -> None:
        self.app = app
        self._rates = Rates(requests_per_minute)
        self._keys_needed = False

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # there is none; if there is one day, it needs a door too
            await WebSocketClose()(scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"].startswith(_PROBES):
            await self.app(scope, receive, send)
            return
        await pass_if(self._let_in(scope), self.app, scope, receive, send)

    async def _let_in(self, scope: Connection) -> None:
        address = scope["client"][0] if scope.get("client") else "unknown"
        if scope["path"] in _PUBLIC:
            self._rates.request(address)
            return
        try:
            caller = await self._identify(scope)
        except Unauthorized:
            # Counted after the look-up, so that nobody who shares the address is locked out.
            self._rates.failure(address)
            raise
        structlog.contextvars.bind_contextvars(key_id=caller.key_id)
        self._rates.request(caller.key_id or address)
        needed = scope_of(scope["method"], scope["path"])
        if not caller.may(needed):
            raise Forbidden(
                f"This needs a key with the scope `{needed}`; yours has "
                f"{' and '.join(f'`{has}`' for has in sorted(caller.scopes))}.",
                code="scope_missing",
                headers={
                    "WWW-Authenticate": f'{_HOW}, error="insufficient_scope", scope="{needed}"'
                },
            )
        scope.setdefault("state", {})["caller"] = caller

    async def _identify(self, scope: Connection) -> Caller:
        """Raises Unauthorized, or Forbidden where there are no keys and it is not local."""
        lookups: BatchedReader = scope["app"].state.lookups
        kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            caller = await lookups.ask(keys.callers_with, token.strip())
            if caller is None:
                raise Unauthorized(
                    "There is no such API key, or it was revoked.",
                    code="key_invalid",
                    headers={"WWW-Authenticate": f'{_HOW}, error="invalid_token"'},
                )
            return caller
        if not self._keys_needed:
            # Asked each time, as the first key may be made at any moment; keys are never deleted.
            self._keys_needed = await lookups.ask(_any_made, None)
        if self._keys_needed:
            raise Unauthorized(
                "This needs an API key: send the header `Authorization: Bearer KEY`. Whoever runs "
                "this service makes one with `dspt keys create NAME`.",
                headers={"WWW-Authenticate": _HOW},
            )
        check_local(scope)
        return LOCAL


def _any_made(session: Session, asked: Sequence[None]) -> list[bool]:
    return [keys.any_made(session)] * len(asked)
