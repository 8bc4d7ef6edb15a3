"""A queue of requests that stays short: what would wait for too long is refused at once.

Without it, more requests than the machine can do are all answered after their callers have gone,
and none in time, for as long as they keep coming.
"""

from __future__ import annotations

from anyio.to_thread import current_default_thread_limiter
from starlette.types import ASGIApp, Receive, Scope, Send

from app.kit.batched_reader import BatchedReader
from app.kit.http.errors import ServiceUnavailable, error_response
from app.kit.http.middleware import refuse
from app.kit.http.rules import rules_of


class Backpressure:
    """Answer 503 while more than `most` requests wait for a thread, or for a look-up."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or rules_of(scope).probe or not self._too_many(scope):
            await self.app(scope, receive, send)
            return
        error = ServiceUnavailable(
            f"More than {self._most} requests are waiting here (DSPT_MAX_WAITING_REQUESTS). "
            "Nothing was done; try again in a moment.",
            code="busy",
            headers={"Retry-After": "2"},
        )
        await refuse(error_response(error), scope, receive, send)

    def _too_many(self, scope: Scope) -> bool:
        reader: BatchedReader = scope["app"].state.reader
        threads = current_default_thread_limiter().statistics()
        return threads.tasks_waiting + reader.waiting > self._most
