"""ASGI middleware: request ids, security headers, early checks and body limits."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable
from contextlib import suppress

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kit.db import UNAVAILABLE
from app.kit.http.errors import (
    SECURE_HEADERS,
    ApiError,
    PayloadTooLarge,
    database_problem,
    error_response,
)
from app.kit.http.rules import rules_of
from app.kit.ids import is_id

_log = structlog.get_logger("app.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

#: Bytes of a refused body to read and drop, so that a client that sends before it reads gets the
#: response rather than a broken connection.
DRAIN_BYTES = 64 * 1024**2
#: The same for unauthorized callers, after the response was sent.
_LINGER_BYTES, _LINGER_SECONDS = 1024**2, 2.0


class RequestContext:
    """Accept or create `X-Request-ID`, bind it to the logs, return it, and log the request."""

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

        # AuthMiddleware sets the key id.
        with structlog.contextvars.bound_contextvars(request_id=request_id, key_id=None):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                level = _log.debug if rules_of(scope).probe else _log.info
                level(
                    "request",
                    **_job_of(scope),
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    seconds=round(time.perf_counter() - start, 4),
                )


def _job_of(scope: Scope) -> dict[str, str]:
    """Return the job of a request as a log field."""
    job_id = scope.get("path_params", {}).get("job_id", "")
    return {"job_id": job_id} if is_id(job_id) else {}


class SecureHeaders:
    """Tell browsers neither to run, show nor cache any response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if policy := rules_of(scope).content_security_policy:
                    headers["Content-Security-Policy"] = policy
                if "etag" in headers:  # may be cached if revalidated each time
                    headers.setdefault("Cache-Control", "private, no-cache")
                if "dspt.token" in scope:  # a page of another origin shows it in <img>
                    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                for name, value in SECURE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_secured)


async def refuse(
    response: Response, scope: Scope, receive: Receive, send: Send, most: int = _LINGER_BYTES
) -> None:
    """Respond without processing the rest of the body.

    Up to `most` bytes of it are read and dropped before the connection closes; otherwise the
    client might see a broken connection and no response.
    """
    headers = Headers(scope=scope)
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        await response(scope, receive, send)
        return
    response.headers["Connection"] = "close"

    async def send_then_linger(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({**message, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await _drain(receive, most)
        await send({"type": "http.response.body", "body": b""})

    await response(scope, receive, send_then_linger)


class BeforeBody:
    """Run the check that a route declares for before its body is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        check = rules_of(scope).before_body if scope["type"] == "http" else None
        if check is None:
            await self.app(scope, receive, send)
        else:
            await pass_if(run_in_threadpool(check, scope), self.app, scope, receive, send)


class BodyLimit:
    """Refuse a body over the route's limit, or `default_bytes`, with 413 while it streams in.

    A declared length over the limit is refused before a byte is read; bytes are counted anyway,
    because the declared length may be missing or false.
    """

    def __init__(self, app: ASGIApp, default_bytes: int) -> None:
        self.app = app
        self._default_bytes = default_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit_of, taken = rules_of(scope).max_body_bytes, 0
        limit = limit_of(scope["app"].state) if limit_of else self._default_bytes
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            # A client that waits for "100 Continue" has not sent a body yet.
            if headers.get("expect", "").lower() != "100-continue":
                await _drain(receive, DRAIN_BYTES)
            await error_response(_too_large(limit))(scope, receive, send)
            return

        async def receive_counted() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > limit:
                    if message.get("more_body", False):
                        await _drain(receive, DRAIN_BYTES)
                    raise _too_large(limit)
            return message

        await self.app(scope, receive_counted, send)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The request body exceeds the limit of {limit:,} bytes.",
        headers={"Connection": "close"},
    )


async def _drain(receive: Receive, most: int) -> None:
    dropped = 0
    while dropped < most:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        dropped += len(message.get("body", b""))


async def pass_if(
    check: Awaitable[None], app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Call `app` unless `check` raises an error; respond with that error, body unread."""
    try:
        await check
    except ApiError as error:
        await refuse(error_response(error), scope, receive, send)
    except UNAVAILABLE as error:
        await refuse(database_problem(error), scope, receive, send)
    else:
        await app(scope, receive, send)
