"""Rate limits."""

from __future__ import annotations

import pytest

from app.access.rate_limits import RateLimits
from app.kit.http.errors import TooManyRequests


def test_each_caller_has_its_own_limit() -> None:
    rates = RateLimits(3)
    for who in ("ann", "bob"):
        for _ in range(3):
            rates.request(who)
        with pytest.raises(TooManyRequests) as caught:
            rates.request(who)
        assert caught.value.headers is not None
        assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
        assert caught.value.code == "rate_limited"


def test_failures_are_counted_separately() -> None:
    rates = RateLimits(1)
    for _ in range(60):
        rates.failure("203.0.113.9")
    with pytest.raises(TooManyRequests):
        rates.failure("203.0.113.9")
    rates.failure("203.0.113.10")
    rates.request("203.0.113.9")


def test_the_time_to_wait_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_020.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    rates = RateLimits(2)
    rates.request("ann")
    rates.request("ann")
    with pytest.raises(TooManyRequests) as caught:
        rates.request("ann")
    waited = 0
    while True:  # as a polite client does it
        assert caught.value.headers is not None
        seconds = int(caught.value.headers["Retry-After"])
        waited += seconds
        now[0] += seconds
        try:
            rates.request("ann")
        except TooManyRequests as error:
            caught.value.headers = error.headers
        else:
            break
    assert waited <= 120
