"""Events of a job as pages, or as a stream that ends with the job."""

from __future__ import annotations

import structlog
from dspt_client.schemas.jobs import EventList
from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus, SendTimeoutError
from starlette.types import Receive, Scope, Send

from app.jobs import repository
from app.jobs.events.feed import Feed
from app.jobs.schemas import event_view
from app.kit.context import Context

_log = structlog.get_logger(__name__)

#: Interval of keep-alive comments for proxies and clients.
_KEEP_ALIVE_SECONDS = 15
#: A connected listener that reads nothing for this long is disconnected.
_STALLED_SECONDS = 60
# A stop ends the streams in its second step, not at the signal.
AppStatus.enable_automatic_graceful_drain = False


def page(context: Context, job_id: str, *, after: int, limit: int) -> EventList:
    """Return a page of the events after number `after`."""
    with context.database.read() as session:
        rows = repository.events(session, job_id, after=after, limit=limit + 1)
    data = [event_view(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return EventList(data=data, has_more=has_more, next=data[-1].id if has_more else None)


class EventStream(EventSourceResponse):
    """Stream a job's events after number `after` as they happen.

    Responds ServiceUnavailable if too many streams are open already.
    """

    def __init__(self, feed: Feed, job_id: str, after: int) -> None:
        super().__init__(
            feed.follow(job_id, after),
            ping=_KEEP_ALIVE_SECONDS,
            send_timeout=_STALLED_SECONDS,
        )
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._feed.slot():
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                _log.warning("disconnected a stalled event stream", path=scope["path"])
