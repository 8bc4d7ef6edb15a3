"""One reader, many listeners: nothing lost, nothing twice, nothing piled up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import event, text
from structlog.testing import capture_logs

from app.access.caller import LOCAL
from app.jobs import repository, service
from app.jobs.events.feed import BUFFERED, Feed
from app.kit.context import Context
from tests.integration.databases import on_both, sqlite_first
from tests.integration.jobs import ERROR, add_job, bring_to, claim

pytestmark = sqlite_first


_ID = re.compile(rb"^id: (\d+)\r$", re.MULTILINE)


async def numbers(stream: AsyncIterator[bytes]) -> list[int]:
    """The numbers of all events, to the end of the stream."""
    return [int(number) async for chunk in stream for number in _ID.findall(chunk)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.005)


def on_a_feed(context: Context, scene: Callable[[Feed], Coroutine[Any, Any, None]]) -> None:
    async def play() -> None:
        feed = Feed(context)
        try:
            async with asyncio.timeout(120):
                await scene(feed)
        finally:
            await feed.close()

    asyncio.run(play())


def report(context: Context, job_id: str, count: int) -> None:
    """More events, in one transaction."""
    with context.database.write() as session:
        for number in range(count):
            repository.add_event(session, job_id, "metrics", {"loss": number})


@on_both
def test_many_listeners_are_one_reader_and_each_gets_every_event_once(context: Context) -> None:
    job_ids = [bring_to(context, Status.RUNNING) for _ in range(2)]
    queries: list[str] = []

    async def scene(feed: Feed) -> None:
        listeners = {
            (job_id, after, number): asyncio.create_task(numbers(feed.follow(job_id, after)))
            for job_id in job_ids
            for after in (0, 2, 7)
            for number in range(30)
        }
        await until(lambda: all(channel.head for channel in feed._channels.values()))
        event.listen(context.database.engine, "before_cursor_execute", _note(queries))
        seconds = asyncio.get_running_loop().time()
        for _ in range(5):
            for job_id in job_ids:
                await asyncio.to_thread(report, context, job_id, 2)
        for job_id in job_ids:
            with context.database.write() as session:
                assert repository.move(session, job_id, Status.FAILED, values={"error": ERROR})
        for (_, after, _), listener in listeners.items():
            assert await listener == list(range(after + 1, 15))
        seconds = asyncio.get_running_loop().time() - seconds
        assert not feed._channels
        looks = 2 + seconds / context.settings.event_poll_seconds
        reads = [query for query in queries if query.startswith("SELECT job")]
        assert 1 < len(reads) <= looks * (1 + len(job_ids))

    on_a_feed(context, scene)


def _note(queries: list[str]) -> Callable[..., None]:
    def before(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        queries.append(statement)

    return before


@on_both
def test_a_listener_that_is_slow_or_late_costs_no_memory_and_misses_nothing(
    context: Context,
) -> None:
    job_id = bring_to(context, Status.RUNNING)  # three events

    async def scene(feed: Feed) -> None:
        slow = feed.follow(job_id, 0)
        first = await anext(slow)
        for _ in range(3):  # it takes nothing meanwhile
            await asyncio.to_thread(report, context, job_id, BUFFERED // 2 + 1)
        total = 3 + 3 * (BUFFERED // 2 + 1)
        channel = feed._channels[job_id]
        await until(lambda: channel.head == total)
        assert len(channel._buffer) == BUFFERED
        late = asyncio.create_task(numbers(feed.follow(job_id, 1)))
        await asyncio.to_thread(end, context, job_id)
        seen = [int(number) for number in _ID.findall(first)] + await numbers(slow)
        assert seen == list(range(1, total + 2))
        assert await late == seen[1:]

    on_a_feed(context, scene)


def end(context: Context, job_id: str) -> None:
    with context.database.write() as session:
        assert repository.move(session, job_id, Status.FAILED, values={"error": ERROR})


def test_more_events_between_two_looks_than_are_kept(context: Context) -> None:
    job_id = bring_to(context, Status.RUNNING)

    async def scene(feed: Feed) -> None:
        listener = asyncio.create_task(numbers(feed.follow(job_id, 0)))
        await until(lambda: job_id in feed._channels and feed._channels[job_id].head == 3)
        await asyncio.to_thread(report, context, job_id, 3 * BUFFERED)
        await asyncio.to_thread(end, context, job_id)
        assert await listener == list(range(1, 3 * BUFFERED + 5))

    on_a_feed(context, scene)


def test_a_job_tried_again_in_the_same_moment_goes_on(context: Context) -> None:
    job_id = bring_to(context, Status.RUNNING)

    async def scene(feed: Feed) -> None:
        listener = asyncio.create_task(numbers(feed.follow(job_id, 0)))
        await until(lambda: job_id in feed._channels and feed._channels[job_id].head == 3)
        with context.database.write() as session:  # no look comes in between
            assert repository.move(session, job_id, Status.FAILED, values={"error": ERROR})
            assert repository.move(session, job_id, Status.QUEUED)
        await until(lambda: feed._channels[job_id].head == 5)
        assert not listener.done()
        await asyncio.to_thread(service.cancel, context, LOCAL, job_id)
        assert await listener == [1, 2, 3, 4, 5, 6]

    on_a_feed(context, scene)


def test_a_deleted_job_and_a_place_beyond_the_end_are_ends(context: Context) -> None:
    gone, failed, waiting = add_job(context), bring_to(context, Status.FAILED), add_job(context)

    async def scene(feed: Feed) -> None:
        assert await numbers(feed.follow(failed, 10_000)) == []
        listener = asyncio.create_task(numbers(feed.follow(gone, 0)))
        await until(lambda: gone in feed._channels and feed._channels[gone].head == 1)
        with context.database.write() as session:
            assert repository.move(session, gone, Status.CANCELLED)
            assert repository.remove(session, gone)
        assert await listener == [1]
        listener = asyncio.create_task(numbers(feed.follow(waiting, 0)))
        await until(lambda: waiting in feed._channels and feed._channels[waiting].head == 1)
        await feed.close()  # as the process stops
        assert await listener == [1, 1]  # the last message names the event to resume after

    on_a_feed(context, scene)


def test_a_database_that_fails_for_a_while_is_asked_again(context: Context) -> None:
    job_id = bring_to(context, Status.RUNNING)

    async def scene(feed: Feed) -> None:
        with capture_logs() as logs:
            _rename(context, "job_events", "away")
            listener = asyncio.create_task(numbers(feed.follow(job_id, 0)))
            await until(lambda: logs)
            _rename(context, "away", "job_events")
            await until(lambda: feed._channels[job_id].head == 3)
        assert [log["event"] for log in logs] == ["cannot read events; retrying"]
        end(context, job_id)
        assert await listener == [1, 2, 3, 4]

    on_a_feed(context, scene)


def _rename(context: Context, old: str, new: str) -> None:
    with context.database.write() as session:
        session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def test_who_leaves_is_forgotten(context: Context) -> None:
    job_id = add_job(context)

    async def scene(feed: Feed) -> None:
        listener = asyncio.create_task(numbers(feed.follow(job_id, 0)))
        await until(lambda: job_id in feed._channels and feed._channels[job_id].head == 1)
        listener.cancel()
        await until(lambda: feed._reader is None)
        assert not feed._channels
        claim(context, job_id).fail(ERROR)  # and a new listener gets all of it
        assert await numbers(feed.follow(job_id, 0)) == [1, 2, 3]

    on_a_feed(context, scene)
