"""Refuse an upload that exceeds a quota before its body is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from app.access.caller import Caller
from app.kit.context import Context
from app.quotas import service

#: Most bytes of a body apart from the zip: settings, class words, the multipart form itself.
_FIELDS_BYTES = 64 * 1024


def declared_bytes(scope: Scope) -> int:
    """Return the least number of bytes of the zip in the body that the headers declare."""
    declared = Headers(scope=scope).get("content-length", "")
    return max(0, int(declared) - _FIELDS_BYTES) if declared.isdecimal() else 0


def check_bytes_early(scope: Scope) -> None:
    """Raise TooManyRequests if the declared body would exceed the caller's quota of bytes.

    Storing the upload checks the same again, exactly.
    """
    context: Context = scope["app"].state.context
    caller: Caller = scope["state"]["caller"]
    with context.database.read() as session:
        service.check_more_bytes(session, context.settings, caller.owner, declared_bytes(scope))
