"""The steps of a stop, on a real server with an application of a few lines."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from app.kit.http.stopping import Server, Stop, StopRequests
from tests.services import wait_until


@dataclass
class Running:
    """The server, and what its application has seen."""

    url: str
    server: Server
    stop: Stop
    thread: threading.Thread
    arrived: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    """Lets the slow requests end."""

    def end(self) -> None:
        self.server.should_exit = True

    def send(self, pool: ThreadPoolExecutor, path: str, **what: object) -> Future[httpx.Response]:
        """Send a request on a thread; return once the application has it."""
        count = len(self.arrived)
        sent = pool.submit(httpx.post, f"{self.url}{path}", timeout=60, **what)  # type: ignore[arg-type]
        wait_until(lambda: len(self.arrived) > count, 60, path)
        return sent


@contextmanager
def running(delay: float, timeout: float) -> Iterator[Running]:
    stop, arrived, release = Stop(), list[str](), threading.Event()

    async def released() -> None:
        while not release.is_set():
            await asyncio.sleep(0.01)

    async def slow(request: Request) -> PlainTextResponse:
        arrived.append(request.url.path)
        await released()
        return PlainTextResponse("done")

    async def upload(request: Request) -> PlainTextResponse:
        arrived.append(request.url.path)
        return PlainTextResponse(str(len(await request.body())))

    async def stream(request: Request) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield "one\n"
            arrived.append(request.url.path)
            await stop.last_line.wait()
            yield "the server is stopping\n"

        return StreamingResponse(lines())

    routes = [
        Route(f"/{f.__name__}", f, methods=["POST"])  # type: ignore[attr-defined]
        for f in (slow, upload, stream)
    ]
    app = StopRequests(Starlette(routes=routes), stop)
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(
        uvicorn.Config(app, log_config=None, lifespan="off"), stop, delay=delay, timeout=timeout
    )
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_until(lambda: server.started, 60, "the server")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Running(url, server, stop, thread, arrived, release)
    finally:
        release.set()
        server.should_exit = True
        thread.join(60)


def test_requests_go_on_and_new_ones_are_accepted_before_the_server_closes() -> None:
    with running(delay=60, timeout=60) as it, ThreadPoolExecutor() as pool:
        early = it.send(pool, "/slow")
        it.end()
        wait_until(lambda: it.stop.begun, 60, "step 1")
        late = it.send(pool, "/slow")
        it.server._close_at = 0.0  # the delay is over
        wait_until(lambda: not accepts(it.url), 60, "step 2")
        assert not early.done()
        it.release.set()
        for sent in (early, late):
            response = sent.result(60)
            assert (response.status_code, response.text) == (200, "done")
            assert response.headers["connection"] == "close"
        it.thread.join(60)
        assert not it.thread.is_alive()


def test_what_does_not_end_in_time_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.kit.http.stopping._LAST_LINE_SECONDS", 0.3)
    sending = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"x"
        sending.wait(60)
        yield b"y"

    with running(delay=0, timeout=0.4) as it, ThreadPoolExecutor() as pool:
        slow, stream = it.send(pool, "/slow"), it.send(pool, "/stream")
        upload = it.send(pool, "/upload", content=body())
        it.end()
        assert stream.result(60).text == "one\nthe server is stopping\n"
        for cancelled in (slow, upload):
            if cancelled is upload:
                sending.set()
            response = cancelled.result(60)
            assert (response.status_code, response.json()["code"]) == (503, "stopping")
            assert int(response.headers["retry-after"]) > 0
        it.thread.join(60)
        assert not it.thread.is_alive()


def accepts(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rsplit(":", 1)[1]))) == 0
