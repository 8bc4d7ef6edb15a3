"""Who sends a request: the caller of its key, session or token, or the local user."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Scope as Connection

from app.access import keys, sessions
from app.access.caller import CHALLENGE, LOCAL, Caller
from app.access.cross_site import SAFE_METHODS, check_own_page
from app.access.last_uses import LastUses
from app.access.loopback import LocalRequests
from app.access.path_tokens import PathTokens
from app.access.rate_limits import RateLimits
from app.kit.batched_reader import BatchedReader
from app.kit.http.errors import Unauthorized
from app.kit.http.rules import Scope, rules_of


class Callers:
    """One per application."""

    def __init__(self, no_auth: bool) -> None:
        self._local = LocalRequests(no_auth)
        self._keys_needed = False

    async def identify(self, scope: Connection) -> Caller:
        """Return the caller.

        Raises Unauthorized, or TooManyRequests if an address is refused too often; without keys,
        Forbidden if the caller is not local.
        """
        try:
            return await self._identify(scope)
        except Unauthorized:
            # Counted after the query, so that valid keys from the same address keep working.
            limits: RateLimits = scope["app"].state.rate_limits
            await limits.failure(address_of(scope))
            raise

    async def _identify(self, scope: Connection) -> Caller:
        reader: BatchedReader = scope["app"].state.reader
        scope.setdefault("state", {})["signed_in"] = False
        kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            caller = await reader.query(keys.callers_with, token.strip())
            if caller is None:
                raise Unauthorized(
                    "The API key is invalid, has expired or was revoked.",
                    code="key_invalid",
                    headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'},
                )
            return caller
        if (given := scope.get("dspt.token")) is not None:
            return await self._with_token(scope, given)
        cookie = sessions.token_of(scope)
        caller = None if cookie is None else await reader.query(sessions.callers_with, cookie)
        if caller is not None:
            check_own_page(scope)
            scope["state"]["signed_in"] = True
            session_uses: LastUses = scope["app"].state.session_uses
            session_uses.note(sessions.digest(cookie or ""))
            return caller
        if not self._keys_needed:
            # Queried each time: the first key may be created at any moment. Keys are never deleted.
            self._keys_needed = await reader.query(_any_created, None)
        if self._keys_needed:
            raise Unauthorized(
                "An API key is required: send the header `Authorization: Bearer KEY`. The operator "
                "of this service creates one with `dspt keys create NAME`.",
                headers={"WWW-Authenticate": CHALLENGE},
            )
        await self._local.check(scope)
        return LOCAL

    async def _with_token(self, scope: Connection, token: str) -> Caller:
        """Return the caller of a token for this path. Raises Unauthorized."""
        tokens: PathTokens = scope["app"].state.path_tokens
        caller: Caller | None = None
        if scope["method"] in SAFE_METHODS and rules_of(scope).scope is Scope.READ:
            key_id = await run_in_threadpool(tokens.key_id, token, scope["path"])
            if key_id is not None:
                reader: BatchedReader = scope["app"].state.reader
                caller = await reader.query(keys.callers_of, key_id) if key_id else LOCAL
        if caller is None:
            raise Unauthorized(
                "The token is invalid, has expired, or is for another path. Get a new one by "
                "`POST /tokens`.",
                code="token_invalid",
                headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'},
            )
        return caller


def address_of(scope: Connection) -> str:
    """Return the address of the client."""
    address: str = scope["client"][0] if scope.get("client") else "unknown"
    return address


def _any_created(session: Session, asked: Sequence[None]) -> list[bool]:
    return [keys.any_created(session)] * len(asked)
