"""One reader of new events for all event streams of this process.

However many listeners there are, a poll is one query for all their jobs, and one more for each job
with new events. All listeners of a job share its recent events in memory, each with its own
position, so a slow listener costs no memory. A listener behind the buffered events reads the older
ones from the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile

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
from app.kit.http.stopping import stopping_error

_log = structlog.get_logger(__name__)

#: Events of a job to buffer: about one minute of a running job.
BUFFERED = 256
#: Time for a running query to end when the process stops.
_CLOSE_SECONDS = 1.0


class Feed:
    """One per process, on its event loop. Close it at the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._listeners = 0
        self._channels: dict[str, _Channel] = {}
        self._joined = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._stopping = False

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy a listener slot within the block. Raises ServiceUnavailable if none is free."""
        if self._stopping:
            raise stopping_error()
        limit = self._context.settings.max_listeners
        if self._listeners >= limit:
            raise ServiceUnavailable(
                f"Too many event streams are open ({limit}, DSPT_MAX_LISTENERS). Retry after 10 s, "
                "or poll the job instead.",
                code="too_many_listeners",
                headers={"Retry-After": "10"},
            )
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1

    async def follow(self, job_id: str, after: int) -> AsyncIterator[bytes]:
        """Yield server-sent events after number `after`; end after the last event of an ended job.

        When the process stops, the last message names the event to resume after.
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
                elif newer := channel.newer_than(after):
                    after = newer[-1].number
                    yield b"".join(event.encoded for event in newer)
                elif channel.ended:
                    if self._stopping:
                        yield _farewell(after)
                    return
                else:
                    await channel.news.wait()

    def stop(self) -> None:
        """End all streams, and start no further one."""
        self._stopping = True
        self._joined.set()
        for channel in self._channels.values():
            channel.end()

    async def close(self) -> None:
        """End all streams and the reader."""
        self.stop()
        if self._reader is not None:
            _, late = await asyncio.wait([self._reader], timeout=_CLOSE_SECONDS)
            for reader in late:
                reader.cancel()

    @contextmanager
    def _joining(self, job_id: str) -> Iterator[_Channel]:
        channel = self._channels.setdefault(job_id, _Channel())
        channel.listeners += 1
        if channel.head is None:  # an existing channel has data already
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
        """Poll while there are listeners. When this task ends, the streams end."""
        failing = False
        try:
            while self._channels and not self._stopping:
                self._joined.clear()
                heads = {job_id: channel.head for job_id, channel in self._channels.items()}
                try:
                    updates = await asyncio.to_thread(self._poll, heads)
                except SQLAlchemyError as error:
                    if not failing:  # log once, not at each poll
                        _log.error("cannot read events; retrying", error=str(error))
                    failing = True
                else:
                    failing = False
                    for update in updates:
                        if update.job_id in self._channels:
                            self._channels[update.job_id].apply(update)
                with suppress(TimeoutError):  # a new listener need not wait
                    async with asyncio.timeout(self._context.settings.event_poll_seconds):
                        await self._joined.wait()
        finally:
            self._reader = None
            for channel in self._channels.values():
                channel.end()
            self._channels.clear()

    # These two run in threads.

    def _poll(self, heads: Mapping[str, int | None]) -> list[_Update]:
        """Return the new events of each job, given the number of its last known event."""
        updates = []
        with self._context.database.read() as session:
            found = repository.heads(session, list(heads))
            for job_id, known in heads.items():
                if job_id not in found:
                    updates.append(_Update(job_id, known or 0, known or 0, (), ended=True))
                    continue
                # State and last event number come from one row. Later events are left to the next
                # poll, so nothing can follow the last event of an ended job.
                status, head = found[job_id]
                if head == known:
                    continue
                after = max(known or 0, head - BUFFERED)
                rows = repository.events(session, job_id, after=after, upto=head, limit=BUFFERED)
                events = [_encoded(event_view(row)) for row in rows]
                updates.append(_Update(job_id, after, head, events, ended=status in TERMINAL))
        return updates

    def _older(self, job_id: str, after: int, upto: int) -> tuple[int, bytes]:
        """Return the last number and the encoded events of a page after `after` up to `upto`."""
        with self._context.database.read() as session:
            rows = repository.events(session, job_id, after=after, upto=upto, limit=BUFFERED)
        reached = rows[-1].seq if len(rows) == BUFFERED else upto
        return reached, b"".join(_encoded(event_view(row)).encoded for row in rows)


@dataclass(frozen=True)
class _Event:
    number: int
    encoded: bytes


@dataclass(frozen=True)
class _Update:
    """All events of a job after `after` up to `head`."""

    job_id: str
    after: int
    head: int
    events: Sequence[_Event]
    ended: bool
    """True if the job had ended, or was deleted, when `head` was its last event."""


class _Channel:
    """The newest events of one job, shared by its listeners."""

    def __init__(self) -> None:
        self.listeners = 0
        #: Number of the last event read; None before the first update.
        self.head: int | None = None
        #: Events up to this number must be read from the database.
        self.dropped = 0
        self.ended = False
        #: Set, and replaced, when there are new events.
        self.news = asyncio.Event()
        self._buffer: deque[_Event] = deque()

    def newer_than(self, after: int) -> list[_Event]:
        """Return the buffered events after number `after`, in order."""
        return [*takewhile(lambda event: event.number > after, reversed(self._buffer))][::-1]

    def apply(self, update: _Update) -> None:
        """Add new events and wake the listeners."""
        if update.after != (self.head or 0):  # more events in between than fit the buffer
            self._buffer.clear()
            self.dropped = update.after
        self._buffer.extend(update.events)
        while len(self._buffer) > BUFFERED:
            self.dropped = self._buffer.popleft().number
        self.head, self.ended = update.head, update.ended
        self._wake()

    def end(self) -> None:
        """End the streams of all listeners."""
        self.head, self.ended = self.head or 0, True
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def _farewell(after: int) -> bytes:
    """Return a message without data, which browsers do not dispatch: the event to resume after."""
    sent = ServerSentEvent(
        comment="the server is stopping; reconnect with Last-Event-ID", id=str(after), retry=1000
    )
    return sent.encode()


def _encoded(event: EventView) -> _Event:
    sent = ServerSentEvent(event.model_dump_json(), event=event.type, id=str(event.id))
    return _Event(event.id, sent.encode())
