"""An HTTP/1.1 client that costs little CPU time, because it shares the CPUs with the service.

httpx takes 1 to 7 ms of CPU time per request where this takes 0.05 to 0.1 ms: with httpx the load
generator would need as much of two cores as the service that it measures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import httptools

#: The service closes a connection that is idle for five seconds.
_IDLE_SECONDS = 3.0
_TIMEOUT_SECONDS = 30.0

_BOUNDARY = "dspt-form-5d1f6c0b8f2e4a53"
FORM: Mapping[str, str] = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
"""Headers of a request whose body is a `form`."""


def field(name: str, text: str) -> bytes:
    """Return a field of a form (RFC 7578), encoded."""
    return _part(f'name="{name}"', text.encode())


def file(name: str, filename: str, content: bytes) -> bytes:
    """Return a file of a form, encoded."""
    return _part(f'name="{name}"; filename="{filename}"', content)


def form(parts: Iterable[bytes]) -> bytes:
    """Return the body made of these fields and files."""
    return b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])


def _part(disposition: str, content: bytes) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    retry_after: str | None = None
    """The header Retry-After."""


class Receiver(Protocol):
    """Takes an answer piece by piece."""

    def opened(self, status: int) -> None:
        """Called when the headers have arrived."""

    def receive(self, data: bytes) -> None:
        """Called with each piece of the body."""


class Connection(asyncio.Protocol):
    """A keep-alive connection with one request at a time."""

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
        """Send a request and return the complete answer. Raises ConnectionError.

        If there is a `receiver`, the body goes there and the answer has none.
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

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base class
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

    # Called by the parser.

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
    """Connections to one address: each request takes an idle one or opens a new one."""

    def __init__(
        self, host: str, port: int, headers: Mapping[str, str], timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """`timeout`: seconds from sending a request to the end of its answer."""
        self._address, self._timeout = (host, port), timeout
        lines = {"Host": f"{host}:{port}"} | dict(headers)
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._idle: list[Connection] = []

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        """Return a request, encoded."""
        more = dict(headers or {})
        if body:
            more["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        return f"{method} {path} HTTP/1.1\r\n{self._headers}{lines}\r\n".encode() + body

    async def send(self, request: bytes) -> Answer:
        """Return the answer. Raises OSError (TimeoutError included) if there is none."""
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
        """Open a connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, *self._address)
        return connection

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _free(self) -> Connection | None:
        """Return the connection that was used last, so that surplus ones expire."""
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since > oldest:
                return connection
            connection.close()
        return None
