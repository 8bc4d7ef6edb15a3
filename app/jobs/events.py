"""A job's events: page by page, or as a stream that ends when the job ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session
from sse_starlette import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app.jobs import repository, service
from app.jobs.schemas import EventList, EventView
from app.jobs.state import TERMINAL
from app.jobs.tables import Job, JobEvent
from app.kit.context import Context

_BATCH = 500


def page(session: Session, job_id: str, *, after: int, limit: int) -> EventList:
    """Events behind number `after`. Raises NotFound."""
    service.find(session, job_id)
    rows = repository.events(session, job_id, after=after, limit=limit + 1)
    data = [_view(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return EventList(data=data, has_more=has_more, next=data[-1].id if has_more else None)


async def stream(context: Context, job_id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events behind number `after`; ends after the last event of an ended job."""
    while True:
        look = await run_in_threadpool(_look, context, job_id, after)
        for event in look.events:
            after = event.id
            yield ServerSentEvent(data=event.model_dump_json(), event=event.type, id=str(event.id))
        if look.complete:
            return
        if not look.events:
            await asyncio.sleep(context.settings.event_poll_seconds)


@dataclass(frozen=True)
class _Look:
    events: Sequence[EventView]
    complete: bool
    """The job has ended (or was deleted) and there are no events behind these."""


def _look(context: Context, job_id: str, after: int) -> _Look:
    with context.database.read() as session:
        # The state first: an event that comes after this look is found by the next one.
        status = session.scalar(select(Job.status).where(Job.id == job_id))
        rows = repository.events(session, job_id, after=after, limit=_BATCH)
    ended = status is None or status in TERMINAL
    return _Look([_view(row) for row in rows], complete=ended and len(rows) < _BATCH)


def _view(row: JobEvent) -> EventView:
    return EventView.model_validate(
        {"id": row.seq, "type": row.type, "created_at": row.created_at, "data": row.data}
    )
