"""Work is given up when its client goes away."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from app.kit.http.cancel_on_disconnect import cancel_on_disconnect


def request_from(messages: list[Message]) -> Request:
    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        return await asyncio.Future()  # the client is there and says nothing

    return Request({"type": "http", "headers": []}, receive)


def test_the_result_is_returned() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert asyncio.run(cancel_on_disconnect(request_from([]), work())) == 7


def test_an_error_is_raised() -> None:
    async def work() -> int:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        asyncio.run(cancel_on_disconnect(request_from([]), work()))


def test_work_is_cancelled_when_the_client_disconnects() -> None:
    async def run() -> bool:
        cancelled = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Future()
            finally:
                cancelled.set()

        body: Message = {"type": "http.request", "body": b"", "more_body": False}
        with pytest.raises(ClientDisconnect):
            await cancel_on_disconnect(request_from([body, {"type": "http.disconnect"}]), work())
        async with asyncio.timeout(120):
            return await cancelled.wait()

    assert asyncio.run(run())
