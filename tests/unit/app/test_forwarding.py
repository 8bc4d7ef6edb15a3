"""Requests that are not forwarded in good order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from app.kit.http.errors import BadRequest
from app.kit.http.rules import Rules
from app.kit.http.rules import Scope as KeyScope
from app.predictions.forwarding import Forwarder, ForwardPredictions
from app.predictions.settings import PredictionSettings


def http(**more: Any) -> dict[str, Any]:
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b""}
    return {**scope, "headers": [], "request_id": "r", **more}


async def nothing() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(("started", "status"), [(False, 499), (True, 200)])
def test_a_client_that_leaves_is_no_error_of_the_service(started: bool, status: int) -> None:
    class Left:
        async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
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
    asyncio.run(ForwardPredictions(unused)(scope, nothing, send))
    starts = [each["status"] for each in sent if each["type"] == "http.response.start"]
    assert starts == [status]


def test_an_address_that_cannot_be_sent_on_is_refused() -> None:
    async def forward() -> None:
        forwarder = Forwarder(PredictionSettings(url="http://127.0.0.1:1"), 1)
        try:
            await forwarder.forward(http(query_string=b"a=#"), nothing, unused)
        finally:
            await forwarder.close()

    async def unused(message: Message) -> None:
        raise AssertionError

    with pytest.raises(BadRequest, match="address is invalid"):
        asyncio.run(forward())
