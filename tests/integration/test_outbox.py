"""Jobs reach the broker, also one that was away; against a real Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from dspt_client.schemas.status import Status

from app.jobs import repository
from app.jobs.lifecycle import outbox
from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.jobs.lifecycle.housekeeping import Housekeeper
from app.jobs.lifecycle.outbox import LOST_SECONDS, Outbox
from app.jobs.repository import JOBS
from app.kit.background_loop import stop_all
from app.kit.broker import RUN_JOB
from app.kit.context import Context
from app.kit.pools import DEFAULT_POOL, queue_of
from app.kit.settings import Settings
from app.main import create_app
from tests.integration.conftest import local_client, post_job
from tests.integration.databases import sqlite_first
from tests.integration.jobs import add_job, claim
from tests.services import RedisServer, redis_server, wait_until


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    with redis_server() as server:
        yield server


def queued(server: RedisServer) -> list[str]:
    """Ids of the jobs that lie in the broker, in the order in which a worker gets them."""
    with server.client() as client:
        messages = [json.loads(raw) for raw in client.lrange(queue_of(DEFAULT_POOL), 0, -1)]
    assert all(message["headers"]["task"] == RUN_JOB for message in messages)
    return [
        json.loads(message["headers"]["argsrepr"].replace("'", '"'))[0] for message in messages
    ][::-1]


def on(broker: RedisServer, settings: Settings) -> Settings:
    """With this broker, and quick to notice that it is back."""
    update = {"broker_url": broker.url, "housekeeping_seconds": 0.2}
    return settings.model_copy(update=update)


def test_a_posted_job_reaches_the_broker(settings: Settings, own_redis: RedisServer) -> None:
    # So slow a loop that only the wake-up call explains it.
    settings = settings.model_copy(
        update={"broker_url": own_redis.url, "housekeeping_seconds": 60.0}
    )
    with local_client(create_app(settings)) as client:
        job = post_job(client)
        wait_until(lambda: queued(own_redis) == [job["id"]], 120, "the job in the broker")


@sqlite_first  # test_drills has a Redis that is away, and then without its data, on PostgreSQL
def test_jobs_wait_for_a_broker_that_is_away(settings: Settings, own_redis: RedisServer) -> None:
    with local_client(create_app(on(own_redis, settings))) as client:
        first = post_job(client)
        wait_until(lambda: queued(own_redis) == [first["id"]], 120, "the first job in the broker")
        own_redis.stop()
        second = post_job(client)  # 202, though the broker is gone
        own_redis.start()
        expected = [first["id"], second["id"]]  # the first one from the append-only file
        wait_until(lambda: queued(own_redis) == expected, 120, "both jobs in the broker")


def test_a_broker_that_is_away_at_the_start(context: Context, own_redis: RedisServer) -> None:
    own_redis.stop()
    job_id = add_job(context)
    settings = on(own_redis, context.settings)
    housekeeper = Housekeeper(Context(settings, context.database, context.storage), JOBS)
    for loop in housekeeper.loops:
        loop.start()
    try:
        own_redis.start()
        wait_until(lambda: queued(own_redis) == [job_id], 120, "the job in the broker")
    finally:
        stop_all(housekeeper.loops)
        housekeeper.close()


def ring(sent: list[str]) -> Callable[[str, str], None]:
    return lambda job_id, _pool: sent.append(job_id)


def test_the_outbox_sends_each_queued_job_once(context: Context) -> None:
    first, second = add_job(context), add_job(context)
    sent: list[str] = []
    outbox = Outbox(context, ring(sent), lambda _: 2)
    assert outbox.relay() == 2
    assert outbox.relay() == 0
    assert sent == [first, second]


def test_what_could_not_be_sent_stays_in_the_outbox(context: Context) -> None:
    first, second = add_job(context), add_job(context)
    sent: list[str] = []

    def send(job_id: str, _pool: str) -> None:
        if job_id == second:
            raise ConnectionError
        sent.append(job_id)

    with pytest.raises(ConnectionError):
        Outbox(context, send, lambda _: 0).relay()
    assert sent == [first]
    assert Outbox(context, ring(sent), lambda _: 1).relay() == 1
    assert sent == [first, second]


def test_a_job_whose_message_is_lost_is_sent_again(context: Context) -> None:
    job_id = add_job(context)
    sent: list[str] = []
    waiting, seconds = 1, 0.0
    outbox = Outbox(context, ring(sent), lambda _: waiting)
    outbox._missing = HeartbeatMonitor(float("inf"), lambda: seconds)
    outbox.relay()
    seconds += 2 * LOST_SECONDS
    assert outbox.relay() == 0  # it waits in the broker's queue
    waiting = 0
    assert outbox.relay() == 0  # a worker may be about to claim it
    seconds += LOST_SECONDS
    assert outbox.relay() == 1
    assert outbox.relay() == 0
    assert sent == [job_id, job_id]


def test_a_lost_message_is_noticed_while_others_wait(context: Context) -> None:
    jobs = [add_job(context) for _ in range(3)]
    sent: list[str] = []
    waiting, seconds = 3, 0.0
    outbox = Outbox(context, ring(sent), lambda _: waiting)
    outbox._missing = HeartbeatMonitor(float("inf"), lambda: seconds)
    assert outbox.relay() == 3
    waiting = 2  # one message is lost; the queue is never empty
    assert outbox.relay() == 0
    seconds += LOST_SECONDS
    assert outbox.relay() == 1
    waiting = 3
    seconds += 2 * LOST_SECONDS
    assert outbox.relay() == 0
    assert sent == [*jobs, jobs[0]]


@sqlite_first  # test_drills has a Redis that is away, and then without its data, on PostgreSQL
def test_jobs_are_sent_again_to_a_broker_restarted_without_its_data(
    settings: Settings, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LOST_SECONDS", 0.5)
    with local_client(create_app(on(own_redis, settings))) as client:
        jobs = [post_job(client)["id"] for _ in range(2)]
        wait_until(lambda: queued(own_redis) == jobs, 120, "the jobs in the broker")
        own_redis.emptied()
        wait_until(lambda: queued(own_redis) == jobs, 120, "both again, once")


def test_a_job_that_left_the_queue_is_not_sent(context: Context) -> None:
    taken, cancelled = add_job(context), add_job(context)
    claim(context, taken)
    with context.database.write() as session:
        repository.move(session, cancelled, Status.CANCELLED, when=[Status.QUEUED])
    assert Outbox(context, pytest.fail, lambda _: 0).relay() == 0
