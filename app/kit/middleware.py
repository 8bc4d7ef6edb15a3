"""ASGI middleware: a request id on every log line and answer, and a limit on bodies."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kit.errors import PayloadTooLarge, problem_response

_log = structlog.get_logger("app.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET = ("/health/", "/metrics")

#: Bytes of a refused body that are read and dropped, so that a client that sends before it reads
#: finds the answer rather than a broken connection.
_DRAIN_BYTES = 64 * 1024**2


class RequestContext:
    """Take `X-Request-ID` or make one; bind it to the logs; send it back; log the request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope["request_id"] = request_id
        start, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                level = _log.debug if scope["path"].startswith(_QUIET) else _log.info
                level(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    seconds=round(time.perf_counter() - start, 4),
                )


class BodyLimit:
    """Refuse a body over `limit(scope)` bytes with 413 while it streams in.

    A declared length over the limit is refused before a byte is read; without one, or with a
    false one, the bytes are counted as they come.
    """

    def __init__(self, app: ASGIApp, limit: Callable[[Scope], int]) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, taken = self.limit(scope), 0
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            # A client that waits for "100 Continue" has sent nothing yet.
            if headers.get("expect", "").lower() != "100-continue":
                await _drain(receive)
            error = _too_large(limit)
            response = problem_response(
                error.status_code, str(error.detail), error.code, headers=error.headers
            )
            await response(scope, receive, send)
            return

        async def receive_counted() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > limit:
                    if message.get("more_body", False):
                        await _drain(receive)
                    raise _too_large(limit)
            return message

        await self.app(scope, receive_counted, send)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The request body is larger than {limit:,} bytes, the most that is taken here.",
        headers={"Connection": "close"},
    )


async def _drain(receive: Receive) -> None:
    dropped = 0
    while dropped < _DRAIN_BYTES:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        dropped += len(message.get("body", b""))
