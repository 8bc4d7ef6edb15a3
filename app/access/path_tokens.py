"""Tokens for one path and a few minutes, where a browser cannot send a header.

`EventSource` and `<img>` send no Authorization. A token is signed, not stored, and ends with the
API key of the caller that asked for it.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.caller import Caller
from app.kit.context import Context
from app.kit.signing_key import ensure_signing_key, signing_key

LIFETIME = timedelta(minutes=5)
_PARAM = "token"
_TOKEN = re.compile(r"(\d{1,12})\.([0-9a-z_]{0,40})\.([0-9a-f]{64})")


class PathTokens:
    """Issue and check tokens; the key is read once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._key: bytes | None = None

    def issue(self, caller: Caller, path: str) -> tuple[str, datetime]:
        """Return a token for `GET path` and when it ends."""
        self._key = self._key or ensure_signing_key(self._context)
        ends = datetime.now(UTC).replace(microsecond=0) + LIFETIME
        expiry, key_id = str(int(ends.timestamp())), caller.key_id or ""
        return f"{expiry}.{key_id}.{_signature(self._key, expiry, key_id, path)}", ends

    def key_id(self, token: str, path: str) -> str | None:
        """Return the id of the API key that a token stands on, "" without keys; None if invalid."""
        self._key = self._key or signing_key(self._context)
        found = _TOKEN.fullmatch(token)
        if found is None or self._key is None:
            return None
        expiry, key_id, signature = found.groups()
        right = hmac.compare_digest(signature, _signature(self._key, expiry, key_id, path))
        return key_id if right and int(expiry) > datetime.now(UTC).timestamp() else None


class TakeToken:
    """Move `?token=` from the query to `scope["dspt.token"]`, so that it is never logged."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and has_token(scope):
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            scope["dspt.token"] = next((v for name, v in query if name == _PARAM), None)
            rest = [(name, value) for name, value in query if name != _PARAM]
            scope["query_string"] = urlencode(rest).encode("latin-1")
        await self.app(scope, receive, send)


def has_token(scope: Scope) -> bool:
    """Return whether the query of a request may have a token."""
    return _PARAM.encode() + b"=" in scope.get("query_string", b"")


def _signature(key: bytes, expiry: str, key_id: str, path: str) -> str:
    text = "\0".join(("path token", expiry, key_id, path))
    return hmac.digest(key, text.encode(), "sha256").hex()
