"""Rate limits in one process."""

from __future__ import annotations

import pytest

from app.access.rate_limits import RateLimits
from app.kit.http.errors import TooManyRequests

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.usefixtures("stopped_rate_window")
async def test_each_caller_has_its_own_limit() -> None:
    rates = RateLimits(3, 100)
    for who in ("ann", "bob"):
        for _ in range(3):
            await rates.request(who)
        with pytest.raises(TooManyRequests) as caught:
            await rates.request(who)
        assert caught.value.headers is not None
        assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
        assert caught.value.code == "rate_limited"


@pytest.mark.usefixtures("stopped_rate_window")
async def test_failures_are_counted_separately() -> None:
    rates = RateLimits(1, 100)
    for _ in range(60):
        await rates.failure("203.0.113.9")
    with pytest.raises(TooManyRequests):
        await rates.failure("203.0.113.9")
    await rates.failure("203.0.113.10")
    await rates.request("203.0.113.9")


async def test_the_time_to_wait_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_020.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    rates = RateLimits(2, 100)
    await rates.request("ann")
    await rates.request("ann")
    with pytest.raises(TooManyRequests) as caught:
        await rates.request("ann")
    waited = 0
    while True:  # as a polite client does it
        assert caught.value.headers is not None
        seconds = int(caught.value.headers["Retry-After"])
        waited += seconds
        now[0] += seconds
        try:
            await rates.request("ann")
        except TooManyRequests as error:
            caught.value.headers = error.headers
        else:
            break
    assert waited <= 120


@pytest.mark.usefixtures("stopped_rate_window")
async def test_images_are_counted_apart_from_requests() -> None:
    rates = RateLimits(2, 100)
    await rates.images("ann", 64)
    with pytest.raises(TooManyRequests, match="100 images per minute"):
        await rates.images("ann", 37)
    await rates.images("ann", 36)
    await rates.images("bob", 100)
    with pytest.raises(TooManyRequests):
        await rates.images("bob", 1)
    await rates.request("ann")


async def test_a_stream_waits_for_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_020.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("app.access.rate_limits.asyncio.sleep", sleep)
    rates = RateLimits(1, 60)
    for _ in range(4):
        await rates.pace_images("ann", 32)
    # 128 images at 60 a minute, of which the first 60 may come at once.
    assert 60 <= sum(slept) <= 240
    await rates.pace_images("bob", 1000)  # more than the limit allows at once
