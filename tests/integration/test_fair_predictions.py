"""No API key takes more than its share: images count, across processes, with Redis or without."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.access.rate_limits import RateLimits
from app.kit.http.errors import ServiceUnavailable, TooManyRequests
from app.kit.settings import Settings
from app.predictions.inference import Inference
from app.predictions.settings import PredictionSettings
from tests.integration.jobs import problem
from tests.integration.own_api import running
from tests.services import RedisServer, redis_server


def test_one_key_cannot_fill_the_queue(tmp_path: Path) -> None:
    inference = Inference(PredictionSettings(max_waiting_images=100), tmp_path)
    with ExitStack() as held:
        held.enter_context(inference.room(30, "ann"))
        with pytest.raises(TooManyRequests) as caught, inference.room(30, "ann"):
            pass
        assert caught.value.code == "too_many_waiting"
        assert caught.value.headers == {"Retry-After": "1"}
        held.enter_context(inference.room(20, "ann"))
        held.enter_context(inference.room(50, "bob"))
        with pytest.raises(ServiceUnavailable), inference.room(1, "cy"):
            pass
    assert inference._waiting == 0
    assert not inference._waiting_of
    with inference.room(64, "ann"):  # one request may exceed the share
        pass
    with inference.room(60, None), inference.room(40, None):  # without keys there is one user
        pass
    inference.close()


@pytest.fixture
def broker() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def limits(url: str, requests: int = 10) -> RateLimits:
    return RateLimits(requests, 1000, url)


async def accepted(rates: RateLimits, tries: int, who: str = "ann") -> int:
    """How many of `tries` requests are accepted."""
    count = 0
    for _ in range(tries):
        try:
            await rates.request(who)
            count += 1
        except TooManyRequests:
            pass
    return count


def test_processes_count_together_through_redis(broker: RedisServer) -> None:
    async def count() -> tuple[int, int, int]:
        one, other = limits(broker.url), limits(broker.url)
        try:
            return (
                await accepted(one, 6),
                await accepted(other, 20),
                await accepted(other, 3, "bob"),
            )
        finally:
            await one.close()
            await other.close()

    assert asyncio.run(count()) == (6, 4, 3)


def test_without_redis_each_process_still_limits(
    broker: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.access.rate_limits._PAUSE_SECONDS", 0.0)

    async def count() -> tuple[int, int, int]:
        rates = limits(broker.url)
        try:
            before = await accepted(rates, 10)
            broker.stop()
            away = await accepted(rates, 15)
            broker.start()
            after = await accepted(rates, 5)
        finally:
            await rates.close()
        return before, away, after

    before, away, after = asyncio.run(count())
    assert (before, away) == (10, 10)
    assert after == 0  # Redis has kept the count


def test_a_silent_redis_costs_one_request_a_quarter_of_a_second() -> None:
    async def count(url: str) -> tuple[int, float]:
        rates, start = limits(url), time.monotonic()
        try:
            return await accepted(rates, 15), time.monotonic() - start
        finally:
            await rates.close()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        found, seconds = asyncio.run(count(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
    assert found == 10
    assert seconds < 5  # all but the first do not ask Redis


def test_the_api_counts_in_redis(settings: Settings, broker: RedisServer) -> None:
    limited = settings.model_copy(update={"requests_per_minute": 4, "broker_url": broker.emptied()})
    with running(limited) as (one, _), running(limited) as (other, _):
        for url in (one, other, one, other):
            assert httpx.get(f"{url}/jobs").status_code == 200
        for url in (one, other):
            problem(httpx.get(f"{url}/jobs"), 429, "rate_limited")
