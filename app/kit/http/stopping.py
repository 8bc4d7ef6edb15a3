"""Stop the API in steps, so that no client is left without an answer.

1. `/health/ready` responds 503. All else goes on for a while, so that a load balancer notices and
   sends its requests to another process.
2. No new connection is accepted, and event streams end; clients resume them elsewhere. Running
   requests go on.
3. After the time limit, requests that still run are cancelled and get 503 with `Retry-After`.
   Shortly before, streams of predictions end with a line that says so.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kit.http.errors import ServiceUnavailable, error_response
from app.kit.http.middleware import DRAIN_BYTES, refuse

_log = structlog.get_logger(__name__)

#: Another process, or this one once it is started again, answers after about this time.
RETRY_SECONDS = 5
#: Time between the end of the prediction streams and step 3, to send what they still have.
_LAST_LINE_SECONDS = 2.0
#: Time after step 3 for the responses to reach their clients.
_RESPONSE_SECONDS = 5.0


def stopping_error() -> ServiceUnavailable:
    """Return the error of a request that this process cannot finish."""
    return ServiceUnavailable(
        f"The server is stopping. Retry after {RETRY_SECONDS} s.",
        code="stopping",
        headers={"Retry-After": str(RETRY_SECONDS), "Connection": "close"},
    )


class Stop:
    """How far the stop is. One per application, used on its event loop."""

    def __init__(self) -> None:
        self.begun = False
        """Step 1."""
        self.last_line = asyncio.Event()
        """Prediction streams end."""
        self._at_close: list[Callable[[], None]] = []
        self._running: set[asyncio.Timeout] = set()

    def at_close(self, call: Callable[[], None]) -> None:
        """Call `call` in step 2."""
        self._at_close.append(call)

    def close(self) -> None:
        """Step 2."""
        self.begun = True
        for call in self._at_close:
            call()

    def cancel(self) -> None:
        """Step 3."""
        if self._running:
            _log.warning("requests are cancelled: the server is stopping", count=len(self._running))
        for each in self._running:
            each.reschedule(asyncio.get_running_loop().time())

    @contextmanager
    def tracking(self, timeout: asyncio.Timeout) -> Iterator[None]:
        """Let `timeout` expire in step 3 if the block still runs."""
        self._running.add(timeout)
        try:
            yield
        finally:
            self._running.discard(timeout)


class StopRequests:
    """Respond 503 to a request that still runs in step 3."""

    def __init__(self, app: ASGIApp, stop: Stop) -> None:
        self.app = app
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._stop.begun:  # the client's next request goes to another process
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                with self._stop.tracking(timeout):
                    await self.app(scope, receive, send_noted)
        except TimeoutError:
            if not timeout.expired():
                raise
            if started:
                _log.warning("a response was cut off: the server is stopping", path=scope["path"])
            else:
                response = error_response(stopping_error())
                await refuse(response, scope, receive, send, DRAIN_BYTES)


class Server(uvicorn.Server):
    """Stops in steps.

    delay: seconds of step 1; none after Ctrl-C. timeout: seconds of step 2.
    """

    def __init__(
        self, config: uvicorn.Config, stop: Stop, *, delay: float = 0.0, timeout: float = 30.0
    ) -> None:
        config.timeout_graceful_shutdown = round(timeout + _RESPONSE_SECONDS)
        super().__init__(config)
        self._stop = stop
        self._delay = delay
        self._timeout = timeout
        self._close_at = 0.0

    async def on_tick(self, counter: int) -> bool:
        """Return whether to go on to step 2."""
        if not await super().on_tick(counter):
            return False
        if not self._stop.begun:
            self._stop.begun = True
            interrupted = signal.SIGINT in self._captured_signals
            self._close_at = time.monotonic() + (0.0 if interrupted else self._delay)
        return self.force_exit or time.monotonic() >= self._close_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Steps 2 and 3, then the end of the application."""
        self._stop.close()
        loop = asyncio.get_running_loop()
        loop.call_later(max(0.0, self._timeout - _LAST_LINE_SECONDS), self._stop.last_line.set)
        loop.call_later(self._timeout, self._stop.cancel)
        await super().shutdown(sockets)
