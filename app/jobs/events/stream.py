"""A job's events: page by page, or as a stream that ends when the job ends."""

from __future__ import annotations

import structlog
from dspt_client.schemas.jobs import EventList
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from app.jobs import repository
from app.jobs.events.feed import Feed
from app.jobs.schemas import event_view
from app.kit.context import Context

_log = structlog.get_logger(__name__)

#: A comment goes out this often, so that proxies and clients see that the line is alive.
_SIGN_OF_LIFE_SECONDS = 15
#: A listener that takes nothing for so long, though its connection stands, is let go.
_STALLED_SECONDS = 60
#: How long a stream may take to end by itself when the process stops.
_FAREWELL_SECONDS = 2


def page(context: Context, job_id: str, *, after: int, limit: int) -> EventList:
    """Events behind number `after`."""
    with context.database.read() as session:
        rows = repository.events(session, job_id, after=after, limit=limit + 1)
    data = [event_view(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return EventList(data=data, has_more=has_more, next=data[-1].id if has_more else None)


class EventStream(EventSourceResponse):
    """A job's events behind number `after`, as they happen.

    ServiceUnavailable in its place where too many listen already.
    """

    def __init__(self, feed: Feed, job_id: str, after: int) -> None:
        super().__init__(
            feed.follow(job_id, after),
            ping=_SIGN_OF_LIFE_SECONDS,
            send_timeout=_STALLED_SECONDS,
            shutdown_event=feed.stopping,
            shutdown_grace_period=_FAREWELL_SECONDS,
        )
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._feed.place():
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                _log.warning("a listener took nothing and was let go", path=scope["path"])
