"""A stream of predictions while the server stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from dspt_client.schemas.predictions import Answered, Prediction
from starlette.types import Message

from app.predictions.service import Answering
from app.predictions.stream import CHUNK, Images, PredictionStream


class Answers:
    """Answers the first chunk; the others wait for ever."""

    held = 0

    @contextmanager
    def room(self, images: int) -> Iterator[None]:
        self.held += images
        yield
        self.held -= images

    def answered(self, images: int) -> Answered:
        return Answered(model="mdl_1", served="tuned", images=images)

    async def answer(self, images: Sequence[tuple[str, bytes]]) -> list[Prediction]:
        if images[0][0] != "0":
            await asyncio.Event().wait()
        return [Prediction(file=name) for name, _ in images]


def test_it_ends_with_what_is_left_to_send_again() -> None:
    async def run() -> list[dict[str, Any]]:
        stop, answers, sent = asyncio.Event(), Answers(), list[bytes]()

        async def admit(_count: int) -> None:
            return

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message.get("body", b""))
            if b'"file":"0"' in sent[-1]:
                stop.set()

        images = Images([str(number) for number in range(3 * CHUNK)], lambda _: b"")
        stream = PredictionStream(images, cast(Answering, answers), admit, stop)
        await stream({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
        assert answers.held == 0
        return [json.loads(line) for line in b"".join(sent).splitlines()]

    first, *predictions, last = asyncio.run(run())
    assert first["images"] == 3 * CHUNK
    assert [each["file"] for each in predictions] == [str(number) for number in range(CHUNK)]
    assert (last["done"], last["answered"], last["error"]["code"]) == (False, CHUNK, "stopping")
    assert last["retry_after"] > 0
