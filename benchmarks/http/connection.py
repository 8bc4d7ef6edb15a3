"""A client for HTTP/1.1 that costs little: the service is to be measured, not its load.

Beside the service, on the same two cores, a full client would take as much of them as it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import httptools

#: The service hangs up on a connection that is idle for five seconds.
_IDLE_SECONDS = 3.0
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    retry_after: str | None = None
    """Of a refusal: what it says of when to come back."""


class Receiver(Protocol):
    """Somebody who takes an answer while it comes."""

    def opened(self, status: int) -> None:
        """The answer has begun."""

    def receive(self, data: bytes) -> None:
        """A piece of its body."""


class Connection(asyncio.Protocol):
    """Kept alive from request to request, of which there is one at a time."""

    def __init__(self) -> None:
        self.usable = False
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._retry_after: str | None = None
        self._receiver: Receiver | None = None
        self._answer: asyncio.Future[Answer] | None = None

    async def exchange(self, request: bytes, receiver: Receiver | None = None) -> Answer:
        """The answer, once all of it is there. Raises ConnectionError.

        A `receiver` gets the body; the answer is then without.
        """
        if not self.usable or self._transport is None:
            raise ConnectionResetError("the connection was closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._receiver = receiver
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no such class
        self.usable = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail(ConnectionResetError(f"the connection was closed ({exc or 'by the service'})"))

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode()

    def on_headers_complete(self) -> None:
        if self._receiver is not None:
            self._receiver.opened(self._parser.get_status_code())

    def on_body(self, body: bytes) -> None:
        if self._receiver is not None:
            self._receiver.receive(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        answer = Answer(self._parser.get_status_code(), body, self._retry_after)
        self._body.clear()
        self._retry_after = None
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Client:
    """Connections to one address: one that is free, or a new one, for each request."""

    def __init__(
        self,
        host: str,
        port: int,
        headers: Mapping[str, str],
        timeout: float = _TIMEOUT_SECONDS,
    ) -> None:
        """`timeout`: seconds from sending a request to the end of its answer."""
        self._place, self._timeout = (host, port), timeout
        lines = {"Host": f"{host}:{port}"} | dict(headers)
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._idle: list[Connection] = []

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        """A request in the form in which it is sent."""
        more = dict(headers or {})
        if body:
            more["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        return f"{method} {path} HTTP/1.1\r\n{self._headers}{lines}\r\n".encode() + body

    async def send(self, request: bytes) -> Answer:
        """Raises OSError (TimeoutError among them) where there is no answer."""
        async with asyncio.timeout(self._timeout):
            connection = self._free() or await self.connect()
            try:
                answer = await connection.exchange(request)
            except BaseException:
                connection.close()
                raise
        if connection.usable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        return answer

    async def connect(self) -> Connection:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, *self._place)
        return connection

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _free(self) -> Connection | None:
        """The one used last, so that those that are not needed grow old."""
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since > oldest:
                return connection
            connection.close()
        return None
