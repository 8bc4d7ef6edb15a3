"""How often one may ask, counted in each process of the API."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.kit.http.errors import TooManyRequests

#: A person who mistypes a key, or a script with an old one, notices long before that.
_FAILURES = RateLimitItemPerMinute(60, namespace="failures")


class Rates:
    """Counts requests and failures by name; call it from one thread."""

    def __init__(self, requests_per_minute: int) -> None:
        self._requests = RateLimitItemPerMinute(requests_per_minute, namespace="requests")
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def request(self, who: str) -> None:
        """Count a request. Raises TooManyRequests, which does not count."""
        self._hit(self._requests, who, "requests a minute, the most that is answered here")

    def failure(self, who: str) -> None:
        """Count a key that was not valid. Raises TooManyRequests, which does not count."""
        self._hit(_FAILURES, who, "tries a minute with keys that are not valid")

    def _hit(self, item: RateLimitItem, who: str, what: str) -> None:
        if self._limiter.hit(item, who):
            return
        wait = self._limiter.get_window_stats(item, who).reset_time - time.time()
        seconds = max(1, math.ceil(wait))
        raise TooManyRequests(
            f"These are more than {item.amount:,} {what}. Try again in {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )
