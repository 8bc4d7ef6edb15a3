"""Refuse requests at once that would wait too long.

Otherwise an overloaded service answers every request after its client has given up.
"""

from __future__ import annotations

from anyio.to_thread import current_default_thread_limiter
from starlette.types import ASGIApp, Receive, Scope, Send

from app.kit.batched_reader import BatchedReader
from app.kit.http.errors import ServiceUnavailable, error_response
from app.kit.http.middleware import refuse
from app.kit.http.rules import rules_of


class Backpressure:
    """Respond 503 while more than `most` requests wait for a thread or a batched query."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or rules_of(scope).probe or not self._too_many(scope):
            await self.app(scope, receive, send)
            return
        error = ServiceUnavailable(
            f"Too many requests are waiting (more than {self._most}, DSPT_MAX_WAITING_REQUESTS). "
            "The request was not processed. Retry after 2 s.",
            code="busy",
            headers={"Retry-After": "2"},
        )
        await refuse(error_response(error), scope, receive, send)

    def _too_many(self, scope: Scope) -> bool:
        reader: BatchedReader = scope["app"].state.reader
        threads = current_default_thread_limiter().statistics()
        return threads.tasks_waiting + reader.waiting > self._most
