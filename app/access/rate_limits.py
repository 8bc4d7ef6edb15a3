"""Rate limits, counted in each process of the API."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.kit.http.errors import TooManyRequests

#: Far above what a mistyped key or a script with an old key causes before it is noticed.
_FAILURES = RateLimitItemPerMinute(60, namespace="failures")


class RateLimits:
    """Count requests and failures by key or address. Not thread-safe."""

    def __init__(self, requests_per_minute: int) -> None:
        self._requests = RateLimitItemPerMinute(requests_per_minute, namespace="requests")
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def request(self, who: str) -> None:
        """Count a request. Raises TooManyRequests; a refused request is not counted."""
        self._hit(self._requests, who, "requests per minute")

    def failure(self, who: str) -> None:
        """Count an invalid key. Raises TooManyRequests; a refused request is not counted."""
        self._hit(_FAILURES, who, "requests with an invalid key per minute")

    def _hit(self, item: RateLimitItem, who: str, what: str) -> None:
        if self._limiter.hit(item, who):
            return
        wait = self._limiter.get_window_stats(item, who).reset_time - time.time()
        seconds = max(1, math.ceil(wait))
        raise TooManyRequests(
            f"Rate limit exceeded ({item.amount:,} {what}). Retry after {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )
