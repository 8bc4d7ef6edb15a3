"""The calls about predictions that are kept on request, and feedback on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import Call, as_a, delete, get, path
from dspt_client._connection import Connection
from dspt_client._pages import items
from dspt_client.schemas.feedback import CapturedView, Order

Size = Literal["192", "384", "1280", "original"]


class FeedbackCalls:
    """`client.feedback`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def give(self, prediction: str, label: str) -> CapturedView:
        """Give the correct class of a photo that was classified with `capture`.

        prediction: its id. label may be a class that the model does not have. The newest feedback
        counts.
        """
        options = {"json": {"prediction": prediction, "label": label}}
        call = Call("POST", "/feedback", as_a(CapturedView), repeatable=True, options=options)
        return await self._connection.call(call)

    def list(
        self, model: str, *, order: Order = "newest", labelled: bool | None = None
    ) -> AsyncIterator[CapturedView]:
        """Iterate over the captured predictions of a model (id or alias).

        order: `uncertain` for the least certain first; `instructive` for at most 50 photos without
        feedback whose labels would teach the model the most. labelled: only those with feedback,
        or without.
        """
        given = None if labelled is None else str(labelled).lower()
        filters = {"order": order, "labelled": given}
        return items(self._connection, path("models", model, "predictions"), CapturedView, filters)

    async def get(self, prediction: str) -> CapturedView:
        """Return one captured prediction."""
        return await self._connection.call(get(path("predictions", prediction), as_a(CapturedView)))

    async def image(self, prediction: str, *, size: Size = "1280") -> bytes:
        """Return the photo as JPEG; size: pixels of its longer side."""
        where = path("predictions", prediction, "image")
        return await self._connection.call(get(where, bytes, params={"size": size}))

    async def delete(self, prediction: str) -> None:
        """Delete a captured prediction, its photo and the feedback on it."""
        await self._connection.call(delete(path("predictions", prediction)))


class Feedback:
    """`client.feedback`."""

    def __init__(self, connection: Connection) -> None:
        self._core = FeedbackCalls(connection)

    give = blocking(FeedbackCalls.give)
    list = blocking_iterator(FeedbackCalls.list)
    get = blocking(FeedbackCalls.get)
    image = blocking(FeedbackCalls.image)
    delete = blocking(FeedbackCalls.delete)
