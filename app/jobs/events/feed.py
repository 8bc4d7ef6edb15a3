"""One reader of new events for everybody in this process who follows a job.

However many listen, a look is one query for all their jobs and one more for each job that has
something new. What it finds lies in memory once for all listeners of the job, and each of them has
a place of its own in it: a slow one costs no memory. One that falls behind what is kept, or comes
late, reads the older events from the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile

import anyio
import structlog
from dspt_client.schemas.jobs import EventView
from dspt_client.schemas.status import TERMINAL
from sqlalchemy.exc import SQLAlchemyError
from sse_starlette import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app.jobs import repository
from app.jobs.schemas import event_view
from app.kit.context import Context
from app.kit.http.errors import ServiceUnavailable

_log = structlog.get_logger(__name__)

#: Events of a job kept in memory: about a minute of one that is running.
KEPT = 256


class Feed:
    """One per process, on its event loop. Close it at the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._listeners = 0
        self._channels: dict[str, _Channel] = {}
        self._joined = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        #: To be set when the process is about to stop: the streams end at the next look.
        self.stopping = anyio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count as a listener within the block. Raises ServiceUnavailable where it is full."""
        limit = self._context.settings.max_listeners
        if self._listeners >= limit:
            raise ServiceUnavailable(
                f"{limit} listeners follow jobs here already, the most that DSPT_MAX_LISTENERS "
                "allows. Try again later, or ask for the job itself from time to time.",
                code="too_many_listeners",
                headers={"Retry-After": "10"},
            )
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1

    async def follow(self, job_id: str, after: int) -> AsyncIterator[bytes]:
        """Server-sent events behind number `after`; ends after the last one of an ended job.

        Raises SQLAlchemyError if older events cannot be read.
        """
        with self._joining(job_id) as channel:
            while True:
                if channel.head is None:
                    await channel.news.wait()
                elif after < channel.dropped:
                    after, older = await run_in_threadpool(
                        self._older, job_id, after, channel.dropped
                    )
                    if older:
                        yield older
                elif newer := channel.behind(after):
                    after = newer[-1].number
                    yield b"".join(event.encoded for event in newer)
                elif channel.ended:
                    return
                else:
                    await channel.news.wait()

    async def close(self) -> None:
        """End all streams and the reader."""
        self.stopping.set()
        if self._reader is not None:
            self._joined.set()
            await self._reader

    @contextmanager
    def _joining(self, job_id: str) -> Iterator[_Channel]:
        channel = self._channels.setdefault(job_id, _Channel())
        channel.listeners += 1
        if channel.head is None:  # what the others were told is there already
            self._joined.set()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="events")
        try:
            yield channel
        finally:
            channel.listeners -= 1
            if not channel.listeners and self._channels.get(job_id) is channel:
                del self._channels[job_id]

    async def _read(self) -> None:
        """Look as long as anybody listens. Whatever ends this ends the streams."""
        failing = False
        try:
            while self._channels and not self.stopping.is_set():
                self._joined.clear()
                heads = {job_id: channel.head for job_id, channel in self._channels.items()}
                try:
                    looks = await asyncio.to_thread(self._look, heads)
                except SQLAlchemyError as error:
                    if not failing:  # say it once, not at each look
                        _log.error("events cannot be read; will try on", error=str(error))
                    failing = True
                else:
                    failing = False
                    for look in looks:
                        if look.job_id in self._channels:
                            self._channels[look.job_id].take(look)
                with suppress(TimeoutError):  # somebody new need not wait
                    async with asyncio.timeout(self._context.settings.event_poll_seconds):
                        await self._joined.wait()
        finally:
            self._reader = None
            for channel in self._channels.values():
                channel.end()
            self._channels.clear()

    # These two run on threads.

    def _look(self, heads: Mapping[str, int | None]) -> list[_Look]:
        """What is new of each job, behind the number of the last event known of it."""
        looks = []
        with self._context.database.read() as session:
            found = repository.heads(session, list(heads))
            for job_id, known in heads.items():
                if job_id not in found:
                    looks.append(_Look(job_id, known or 0, known or 0, (), ended=True))
                    continue
                # The state and the number of its last event are one row. What comes after is left
                # to the next look, so that an ended job is one that nothing follows.
                status, head = found[job_id]
                if head == known:
                    continue
                after = max(known or 0, head - KEPT)
                rows = repository.events(session, job_id, after=after, upto=head, limit=KEPT)
                events = [_encoded(event_view(row)) for row in rows]
                looks.append(_Look(job_id, after, head, events, ended=status in TERMINAL))
        return looks

    def _older(self, job_id: str, after: int, upto: int) -> tuple[int, bytes]:
        """A page of events behind `after` up to `upto`, and the number that it reaches to."""
        with self._context.database.read() as session:
            rows = repository.events(session, job_id, after=after, upto=upto, limit=KEPT)
        reached = rows[-1].seq if len(rows) == KEPT else upto
        return reached, b"".join(_encoded(event_view(row)).encoded for row in rows)


@dataclass(frozen=True)
class _Event:
    number: int
    encoded: bytes


@dataclass(frozen=True)
class _Look:
    """All events of a job behind `after` up to `head`."""

    job_id: str
    after: int
    head: int
    events: Sequence[_Event]
    ended: bool
    """The job had ended, or was deleted, when `head` was its last event."""


class _Channel:
    """The newest events of one job, for all who listen to it."""

    def __init__(self) -> None:
        self.listeners = 0
        #: Number of the last event read; None before the first look.
        self.head: int | None = None
        #: All events up to this number have to be read from the database.
        self.dropped = 0
        self.ended = False
        #: Set, and replaced, when there is something new.
        self.news = asyncio.Event()
        self._kept: deque[_Event] = deque()

    def behind(self, after: int) -> list[_Event]:
        """The events that are kept behind number `after`, in their order."""
        return [*takewhile(lambda event: event.number > after, reversed(self._kept))][::-1]

    def take(self, look: _Look) -> None:
        """Add what was found and wake the listeners."""
        if look.after != (self.head or 0):  # more has happened in between than is kept
            self._kept.clear()
            self.dropped = look.after
        self._kept.extend(look.events)
        while len(self._kept) > KEPT:
            self.dropped = self._kept.popleft().number
        self.head, self.ended = look.head, look.ended
        self._wake()

    def end(self) -> None:
        """Let the listeners go."""
        self.head, self.ended = self.head or 0, True
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def _encoded(event: EventView) -> _Event:
    sent = ServerSentEvent(event.model_dump_json(), event=event.type, id=str(event.id))
    return _Event(event.id, sent.encode())
