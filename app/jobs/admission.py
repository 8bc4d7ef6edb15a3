"""An upload that would be refused in the end is refused before it is read."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.caller import Caller
from app.jobs import quota, repository
from app.kit.context import Context
from app.kit.ids import owned
from app.kit.middleware import pass_if

#: Of a body, all but the zip: config, class words, the multipart form itself.
_FIELDS_BYTES = 64 * 1024


class Admission:
    """Look at the caller's quota and at the queue before the body of POST /jobs is read.

    What it lets through is checked again, exactly, when it is stored.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/jobs"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        size = int(declared) if declared.isdecimal() else 0
        context: Context = scope["app"].state.context
        caller: Caller = scope["state"]["caller"]
        key = headers.get("idempotency-key")
        more_bytes = max(0, size - _FIELDS_BYTES)
        check = run_in_threadpool(_check_quota_early, context, caller, key, more_bytes)
        await pass_if(check, self.app, scope, receive, send)


def _check_quota_early(context: Context, caller: Caller, key: str | None, more_bytes: int) -> None:
    with context.database.read() as session:
        if key and repository.by_idempotency_digest(session, owned(caller.owner, key)):
            return  # its job is there already, and is the answer
        quota.foresee(session, context.settings, caller.owner, more_bytes)
