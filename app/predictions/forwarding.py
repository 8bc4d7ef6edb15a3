"""Send calls that need image towers to the processes that have them (the role `api`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)

import httpx
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.caller import Caller
from app.kit.batched_reader import BatchedReader
from app.kit.db import UNAVAILABLE
from app.kit.http.errors import (
    ApiError,
    BadRequest,
    GatewayTimeout,
    ServiceUnavailable,
    database_problem,
    error_response,
)
from app.kit.http.middleware import DRAIN_BYTES, refuse
from app.kit.http.rules import Scope as KeyScope
from app.kit.http.rules import rules_of
from app.kit.http.uploads import TimedBody
from app.models.resolve import backbones_of
from app.predictions.replicas import Replicas
from app.predictions.settings import PredictionSettings
from app.predictions.wanted import model_of

#: Headers of one connection, not of the request or response (RFC 9110, 7.6.1).
_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"),
    }
)
#: For a connection, and for the other process to read the next part of a body.
_CONNECT_SECONDS, _WRITE_SECONDS = 3.0, 30.0
#: Beyond the time limit of a prediction, so that its own error arrives.
_MARGIN_SECONDS = 10.0
#: Below the time after which uvicorn closes an idle connection.
_IDLE_SECONDS = 2.0
_RETRY_SECONDS = 5
#: A body up to this size is sent on once all of it is here, so that a slow client holds none of
#: the connections. Each caller has a share of them for larger ones.
_WHOLE_BYTES = 1024**2
_SHARE = 4
#: The process is away; nothing of the request was sent.
_AWAY = (httpx.ConnectError, httpx.ConnectTimeout)
_NOT_SENT = (*_AWAY, httpx.PoolTimeout)

Identify = Callable[[Scope], Awaitable[Caller]]
_Headers = list[tuple[bytes, bytes]]


class Forwarder:
    """Forwards requests to DSPT_PREDICT_URL. One per process; close it at the end."""

    def __init__(self, settings: PredictionSettings, most: int, bytes_per_second: int) -> None:
        """`most`: connections at the same time. bytes_per_second: the slowest rate of a body."""
        self._bytes_per_second = bytes_per_second
        self._replicas = Replicas(settings.urls)
        self._timeout = httpx.Timeout(
            _CONNECT_SECONDS,
            read=settings.deadline_seconds + _MARGIN_SECONDS,
            write=_WRITE_SECONDS,
        )
        limits = httpx.Limits(max_connections=most, keepalive_expiry=_IDLE_SECONDS)
        transport = httpx.AsyncHTTPTransport(limits=limits)
        self._client = httpx.AsyncClient(transport=transport, trust_env=False)
        self._most_large = max(1, most // _SHARE)
        self._large: Counter[str] = Counter()
        """Large bodies that are being sent on, by caller."""

    async def close(self) -> None:
        await self._client.aclose()

    async def forward(self, scope: Scope, receive: Receive, send: Send, identify: Identify) -> None:
        """Answer with the response of the other process. Raises ApiError before it begins.

        identify: returns the caller of a request, or raises ApiError. Not called if the first
        part of the body is all of it.
        """
        body = _Body(receive, self._bytes_per_second)
        relaying = asyncio.create_task(self._relay(scope, body, send, identify))
        leaving = asyncio.create_task(body.disconnected())
        try:
            await asyncio.wait((relaying, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not relaying.done():
                raise ClientDisconnect
            relaying.result()
        finally:
            for task in (relaying, leaving):
                task.cancel()

    async def _relay(self, scope: Scope, body: _Body, send: Send, identify: Identify) -> None:
        async with self._answer(scope, body, identify) as answer:
            headers = _end_to_end(answer.headers.raw)
            if not body.read.is_set():  # refused early
                headers.append((b"connection", b"close"))
            start = {"type": "http.response.start", "status": answer.status_code}
            await send({**start, "headers": headers})
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def _answer(
        self, scope: Scope, body: _Body, identify: Identify
    ) -> AsyncIterator[httpx.Response]:
        if not self._replicas:
            raise ServiceUnavailable(
                "This process makes no predictions (DSPT_ROLE=api). Set DSPT_PREDICT_URL to the "
                "address of one with DSPT_ROLE=predict, or send the request there.",
                code="no_predict_url",
            )
        room = await self._begin(scope, body, identify)
        backbone = await _backbone(scope, body.begun) if len(self._replicas) > 1 else None
        async with AsyncExitStack() as stack:
            with room:
                answer = await self._sent(scope, body, backbone, stack)
            stack.push_async_callback(answer.aclose)
            yield answer

    async def _begin(
        self, scope: Scope, body: _Body, identify: Identify
    ) -> AbstractContextManager[None]:
        """Read all of a small body, or the beginning. Return the room for the rest.

        Unknown clients must not make this process keep more than one part of a body.
        """
        await body.begin(1)
        if body.read.is_set():
            return nullcontext()
        caller = await identify(scope)
        needed = rules_of(scope).scope
        assert needed is not None  # no call for predictions is public
        caller.require(needed)
        await body.begin(_WHOLE_BYTES)
        return nullcontext() if body.read.is_set() else self._room(caller.limited_as)

    async def _sent(
        self, scope: Scope, body: _Body, backbone: str | None, stack: AsyncExitStack
    ) -> httpx.Response:
        """Send the request; if a process is away, send it to the next one.

        The request counts as that of the process that answers until the end of `stack`.
        """
        tried: list[str] = []
        while url := self._replicas.choose(backbone, tried):
            with ExitStack() as counted:
                counted.enter_context(self._replicas.sending(url))
                try:
                    answer = await self._client.send(self._request(url, scope, body), stream=True)
                except httpx.TransportError as error:
                    lost = error
                else:
                    stack.enter_context(counted.pop_all())
                    return answer
            if not isinstance(lost, _AWAY):
                break
            self._replicas.failed(url)
            tried.append(url)
        raise _no_answer(lost, scope, body) from lost

    def _request(self, base: str, scope: Scope, body: _Body) -> httpx.Request:
        to = httpx.URL(base)
        try:
            url = to.copy_with(raw_path=_target(to, scope))
        except httpx.InvalidURL as error:
            raise BadRequest(f"The address is invalid: {error}") from error
        # Not the client's build_request, which adds headers of its own.
        return httpx.Request(
            scope["method"],
            url,
            headers=_forwarded(scope),
            content=body.parts(),
            extensions={"timeout": self._timeout.as_dict()},
        )

    @contextmanager
    def _room(self, who: str) -> Iterator[None]:
        """Count a large body. Raises ServiceUnavailable if its caller sends too many at once."""
        if self._large[who] >= self._most_large:
            raise _unavailable("Too many large bodies with this key at the same time.", "busy")
        self._large[who] += 1
        try:
            yield
        finally:
            self._large[who] -= 1
            if not self._large[who]:
                del self._large[who]


class _Body:
    """The body of a request, read once."""

    def __init__(self, receive: Receive, bytes_per_second: int) -> None:
        self._receive = TimedBody(receive, bytes_per_second).receive
        self._begun = bytearray()
        self.read = asyncio.Event()
        """Set once all of it was read."""

    async def begin(self, least: int) -> None:
        """Read until `least` bytes or all are here. Raises RequestTimeout, ClientDisconnect."""
        while not self.read.is_set() and len(self._begun) < least:
            self._begun += await self._part()

    @property
    def begun(self) -> bytes:
        """What was read so far."""
        return bytes(self._begun)

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises RequestTimeout and ClientDisconnect."""
        yield self.begun
        while not self.read.is_set():
            yield await self._part()

    async def disconnected(self) -> None:
        """Return when the client leaves after its body."""
        await self.read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if not message.get("more_body", False):
            self.read.set()
        part: bytes = message.get("body", b"")
        return part


class ForwardPredictions:
    """Middleware of the role `api`: calls that need image towers go to `app.state.forwarder`.

    Outside of authentication, which the other process does, as it counts the rate limits. Only a
    body that arrives in several parts is also checked here, before more of it is read.
    """

    def __init__(self, app: ASGIApp, identify: Identify) -> None:
        self.app = app
        self._identify = identify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not rules_of(scope).predicts:
            await self.app(scope, receive, send)
            return
        forwarder: Forwarder = scope["app"].state.forwarder
        started = read = False

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read = not message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def answer(response: Response) -> None:
            if read:  # so the connection can stay open
                await response(scope, receive, send)
            else:
                await refuse(response, scope, receive, send, DRAIN_BYTES)

        try:
            await forwarder.forward(scope, receiving, sending, self._identify)
        except ClientDisconnect:
            if not started:  # nobody reads it, but it is counted
                await Response(status_code=499)(scope, receive, send)
        except ApiError as error:
            await answer(error_response(error))
        except UNAVAILABLE as error:
            await answer(database_problem(error))


async def _backbone(scope: Scope, begun: bytes) -> str | None:
    """Return the backbone that a request needs; None: not known, so any process may get it."""
    name = model_of(scope, begun)
    if name is None:
        return None
    reader: BatchedReader = scope["app"].state.reader
    try:
        return await reader.query(backbones_of, name)
    except UNAVAILABLE:  # the other process says what is wrong
        return None


def _no_answer(error: httpx.TransportError, scope: Scope, body: _Body) -> ApiError:
    """Return what to answer instead of the other process; only safe calls are to be repeated."""
    sent = body.read.is_set() and not isinstance(error, _NOT_SENT)
    if sent and rules_of(scope).scope is not KeyScope.READ:
        return GatewayTimeout(
            "The process for predictions gave no answer (DSPT_PREDICT_URL). It may have carried "
            "out the request: look before you send it again."
        )
    return _unavailable(
        "The processes for predictions do not answer (DSPT_PREDICT_URL).",
        "predictions_unavailable",
    )


def _unavailable(reason: str, code: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{reason} Retry after {_RETRY_SECONDS} s.",
        code=code,
        headers={"Retry-After": str(_RETRY_SECONDS)},
    )


def _target(url: httpx.URL, scope: Scope) -> bytes:
    """Return path and query below the path of `url`."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return url.raw_path.rstrip(b"/") + path + (b"?" + query if query else b"")


def _forwarded(scope: Scope) -> _Headers:
    """Return the client's headers, and those of a proxy."""
    headers = _end_to_end(scope["headers"])
    given = [value for name, value in headers if name == b"x-forwarded-for"]
    if scope.get("client"):
        given.append(scope["client"][0].encode())
    replaced = {
        b"x-forwarded-for": b", ".join(given),
        b"x-request-id": scope["request_id"].encode(),
    }
    kept = [(name, value) for name, value in headers if name not in replaced]
    # `Via` also says that the request comes from elsewhere to a service without API keys.
    return [*kept, *replaced.items(), (b"via", b"1.1 dspt")]


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> _Headers:
    """Return the headers without those of one connection, names in lower case."""
    lower = [(name.lower(), value) for name, value in headers]
    named = {
        name.strip().lower()
        for header, value in lower
        if header == b"connection"
        for name in value.split(b",")
    }
    return [(name, value) for name, value in lower if name not in _HOP | named]
