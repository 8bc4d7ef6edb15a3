"""Bodies of all requests together: how many bytes at once, and how slowly they may come."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kit.http.errors import RequestTimeout, ServiceUnavailable, error_response
from app.kit.http.middleware import refuse
from app.kit.http.rules import rules_of
from app.kit.settings import Settings

#: Bodies up to this size are not counted: they stay in memory, and their number is limited.
_SMALL_BYTES = 64 * 1024
#: Seconds of waiting for a client over which its rate is measured.
_WINDOW_SECONDS = 30.0


class Uploads:
    """Refuse a body while too many bytes are in flight, and end one that trickles.

    A body counts with its declared length, or with the route's limit, until the response is sent.
    One upload alone is always accepted. Time in which the client waits for this process does not
    count against its rate.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._settings = settings
        self._expected = self._received = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        expected = self._expected_bytes(scope) if scope["type"] == "http" else 0
        if expected == 0:
            await self.app(scope, receive, send)
            return
        if expected <= _SMALL_BYTES:
            expected = 0
        elif self._expected and self._expected + expected > self._limit():
            error = ServiceUnavailable(
                "Too many bytes are being uploaded by other requests "
                "(DSPT_MAX_UPLOAD_BYTES_IN_FLIGHT). Nothing was stored. Retry after 10 s.",
                code="uploads_busy",
                headers={"Retry-After": "10"},
            )
            await refuse(error_response(error), scope, receive, send)
            return
        body = TimedBody(receive, self._settings.min_upload_bytes_per_second)
        counted = 0

        async def receive_counted() -> Message:
            nonlocal counted
            message = await body.receive()
            if expected and message["type"] == "http.request":
                counted += len(message.get("body", b""))
                self._received += len(message.get("body", b""))
            return message

        self._expected += expected
        try:
            await self.app(scope, receive_counted, send)
        except RequestTimeout as error:  # while the rest of a refused body was read
            await error_response(error)(scope, receive, send)
        finally:
            self._expected -= expected
            self._received -= counted

    def _expected_bytes(self, scope: Scope) -> int:
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdecimal():
            return int(declared)
        if "transfer-encoding" not in headers:
            return 0
        limit_of = rules_of(scope).max_body_bytes
        return limit_of(scope["app"].state) if limit_of else self._settings.max_body_bytes

    def _limit(self) -> int:
        """Return the setting; or half of the temporary space, as each file is stored once more.

        API processes on one port have equal shares of it.
        """
        if self._settings.max_upload_bytes_in_flight is not None:
            return self._settings.max_upload_bytes_in_flight
        free = shutil.disk_usage(tempfile.gettempdir()).free + self._received
        return free // (2 * self._settings.api_workers)


class TimedBody:
    """The body of one request, which must arrive at a minimum rate."""

    def __init__(self, receive: Receive, bytes_per_second: int) -> None:
        self._receive = receive
        self._bytes_per_second = bytes_per_second
        self._ended = False
        self._waited, self._bytes = 0.0, 0  # in the current window

    async def receive(self) -> Message:
        """Return the next message. Raises RequestTimeout."""
        while not self._ended:
            start = time.monotonic()
            try:
                async with asyncio.timeout(_WINDOW_SECONDS - self._waited):
                    message = await self._receive()
            except TimeoutError:
                message = None
            self._waited += time.monotonic() - start
            if message is not None:
                self._bytes += len(message.get("body", b""))
                self._ended = not message.get("more_body", False)
            if self._waited >= _WINDOW_SECONDS and not self._ended:
                if self._bytes < self._bytes_per_second * _WINDOW_SECONDS:
                    raise RequestTimeout(
                        f"The request body arrived too slowly (less than {self._bytes_per_second} "
                        f"bytes per second for {_WINDOW_SECONDS:g} s, "
                        "DSPT_MIN_UPLOAD_BYTES_PER_SECOND). Nothing was stored.",
                        headers={"Connection": "close"},
                    )
                self._waited, self._bytes = 0.0, 0
            if message is not None:
                return message
        return await self._receive()  # the end of the connection: no limit
