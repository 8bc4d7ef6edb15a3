"""Requests that are not forwarded in good order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from app.access.caller import LOCAL, Caller
from app.kit.http import uploads
from app.kit.http.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    GatewayTimeout,
    RequestTimeout,
    ServiceUnavailable,
    Unauthorized,
)
from app.kit.http.rules import Rules
from app.kit.http.rules import Scope as KeyScope
from app.predictions.forwarding import Forwarder, ForwardPredictions, Identify
from app.predictions.settings import PredictionSettings
from tests.services import free_port


def http(**more: Any) -> dict[str, Any]:
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b""}
    return {**scope, "headers": [], "request_id": "r", **more}


async def known(_scope: Scope) -> Caller:
    return LOCAL


async def nothing() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(("started", "status"), [(False, 499), (True, 200)])
def test_a_client_that_leaves_is_no_error_of_the_service(started: bool, status: int) -> None:
    class Left:
        async def forward(
            self, scope: Scope, receive: Receive, send: Send, identify: Identify
        ) -> None:
            if started:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ClientDisconnect

    async def unused(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    state = SimpleNamespace(forwarder=Left())
    rules = Rules(KeyScope.READ, predicts=True)
    scope = http(app=SimpleNamespace(state=state)) | {"dspt.rules": rules}
    asyncio.run(ForwardPredictions(unused, known)(scope, nothing, send))
    starts = [each["status"] for each in sent if each["type"] == "http.response.start"]
    assert starts == [status]


MIB = 1024**2
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def other_process(answer: Answer) -> AsyncIterator[tuple[str, list[None]]]:
    """Address of a process that does `answer` with each connection, and its connections."""
    connections: list[None] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(None)
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}", connections


@asynccontextmanager
async def forwarder(url: str, most: int = 4) -> AsyncIterator[Forwarder]:
    made = Forwarder(PredictionSettings(url=url), most, bytes_per_second=1000)
    try:
        yield made
    finally:
        await made.close()


class Client:
    """Sends parts of a body as the test allows it, and keeps what it gets."""

    def __init__(self, size: int, scope: KeyScope = KeyScope.READ) -> None:
        """`size`: bytes of the body."""
        rules = Rules(scope, predicts=True)
        headers = [(b"content-length", str(size).encode())]
        self.scope = http(headers=headers, client=("192.0.2.1", 1)) | {"dspt.rules": rules}
        self.parts: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []

    def part(self, body: bytes, *, more: bool) -> None:
        self.parts.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def forward(self, by: Forwarder, identify: Identify = known) -> int:
        """Status of the answer."""
        await by.forward(self.scope, self.parts.get, self.send, identify)
        status: int = self.sent[0]["status"]
        return status


async def read_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    await reader.readexactly(length)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    await writer.drain()


async def read_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry it out, perhaps, and die."""
    await reader.readuntil(b"\r\n\r\n")


async def idle() -> None:
    """All that can go on has gone on."""
    for _ in range(100):
        await asyncio.sleep(0)


def test_a_slow_client_holds_no_connection() -> None:
    async def run() -> None:
        async with other_process(read_all) as (url, connections), forwarder(url, 1) as by:
            slow, quick = (Client(4) for _ in range(2))
            slow.part(b"ab", more=True)
            waiting = asyncio.create_task(slow.forward(by))
            await idle()
            quick.part(b"abcd", more=False)
            assert await quick.forward(by) == 200
            assert len(connections) == 1
            slow.part(b"cd", more=False)
            assert await waiting == 200
            assert slow.sent[1]["body"] == b"{}"

    asyncio.run(run())


def test_a_key_has_a_share_of_the_connections_for_large_bodies() -> None:
    async def run() -> None:
        async with other_process(read_all) as (url, _), forwarder(url, 4) as by:
            first, second, small = (Client(size) for size in (2 * MIB, 2 * MIB, 1))
            for client in (first, second):
                client.part(b"x" * MIB, more=True)
            waiting = asyncio.create_task(first.forward(by))
            await idle()
            with pytest.raises(ServiceUnavailable) as refused:
                await second.forward(by)
            assert (refused.value.code, refused.value.headers) == ("busy", {"Retry-After": "5"})
            small.part(b"x", more=False)
            assert await small.forward(by) == 200
            first.part(b"x" * MIB, more=False)
            assert await waiting == 200
            again = Client(2 * MIB)  # there is room again
            again.part(b"x" * MIB, more=True)
            again.part(b"x" * MIB, more=False)
            assert await again.forward(by) == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("scope", "error"),
    [(KeyScope.READ, ServiceUnavailable), (KeyScope.SUBMIT, GatewayTimeout)],
)
def test_only_a_safe_call_is_to_be_repeated(scope: KeyScope, error: type[ApiError]) -> None:
    async def run() -> None:
        async with other_process(read_and_leave) as (url, _), forwarder(url) as by:
            client = Client(1, scope)
            client.part(b"x", more=False)
            with pytest.raises(error) as refused:
                await client.forward(by)
            assert ("Retry-After" in (refused.value.headers or {})) is (scope is KeyScope.READ)

    asyncio.run(run())


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.SUBMIT])
def test_another_process_gets_what_one_that_is_away_did_not(scope: KeyScope) -> None:
    async def run() -> None:
        async with other_process(read_all) as (url, connections):
            away = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
            async with forwarder(", ".join([*away, url])) as by:
                for number in range(1, 4):
                    client = Client(4, scope)
                    client.part(b"ab", more=True)
                    client.part(b"cd", more=False)
                    assert await client.forward(by) == 200
                    assert len(connections) == number

    asyncio.run(run())


def test_a_call_that_was_not_sent_may_be_repeated() -> None:
    async def run() -> None:
        async with forwarder(f"http://127.0.0.1:{free_port()}") as by:
            client = Client(1, KeyScope.SUBMIT)
            client.part(b"x", more=False)
            with pytest.raises(ServiceUnavailable, match="do not answer"):
                await client.forward(by)

    asyncio.run(run())


async def unknown(_scope: Scope) -> Caller:
    raise Unauthorized("who?")


async def reader(_scope: Scope) -> Caller:
    return Caller("ann", frozenset({KeyScope.READ}), "key")


@pytest.mark.parametrize(("identify", "error"), [(unknown, Unauthorized), (reader, Forbidden)])
def test_only_the_first_part_of_a_body_is_read_for_a_caller_who_may_not(
    identify: Identify, error: type[ApiError]
) -> None:
    async def run() -> None:
        async with other_process(read_all) as (url, connections), forwarder(url) as by:
            client = Client(4, KeyScope.SUBMIT)
            client.part(b"ab", more=True)
            client.part(b"cd", more=False)
            with pytest.raises(error):
                await client.forward(by, identify)
            assert client.parts.qsize() == 1
            assert connections == []

    asyncio.run(run())


def test_a_body_that_trickles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_WINDOW_SECONDS", 0.1)
    sizes = iter(range(50, -1, -1))  # 10 ms each: at most 100 bytes per second

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        left = next(sizes)
        return {"type": "http.request", "body": b"x", "more_body": left > 0}

    async def run() -> None:
        async with other_process(read_all) as (url, _), forwarder(url) as by:
            client = Client(51)
            with pytest.raises(RequestTimeout, match="too slowly"):
                await by.forward(client.scope, receive, client.send, known)

    asyncio.run(run())


class Measured(bytes):
    """Counts how often its length is asked for."""

    asked = 0

    def __len__(self) -> int:
        Measured.asked += 1
        return super().__len__()


def test_the_work_for_a_body_is_linear_in_its_parts() -> None:
    async def run() -> None:
        async with other_process(read_all) as (url, _), forwarder(url) as by:
            client = Client(200)
            for left in range(199, -1, -1):
                client.part(Measured(b"x"), more=left > 0)
            assert await client.forward(by) == 200

    asyncio.run(run())
    assert Measured.asked <= 3 * 200


def test_a_process_counts_the_requests_that_it_answers_only() -> None:
    async def run() -> None:
        away = f"http://127.0.0.1:{free_port()}"
        async with other_process(read_all) as (url, _), forwarder(f"{away}, {url}") as by:
            running: list[dict[str, int]] = []

            async def send(_message: Message) -> None:
                running.append(dict(by._replicas._running))

            client = Client(1)
            client.part(b"x", more=False)
            await by.forward(client.scope, client.parts.get, send, known)
            assert running[0] == {away: 0, url: 1}
            assert by._replicas._running == {away: 0, url: 0}

    asyncio.run(run())


def test_an_address_that_cannot_be_sent_on_is_refused() -> None:
    async def run() -> None:
        async with forwarder("http://127.0.0.1:1") as by:
            client = Client(0)
            client.scope["query_string"] = b"a=#"
            client.part(b"", more=False)
            await client.forward(by)

    with pytest.raises(BadRequest, match="address is invalid"):
        asyncio.run(run())
