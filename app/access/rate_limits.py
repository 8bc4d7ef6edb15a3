"""Rate limits, counted in Redis for all processes of the API, or in each process without Redis."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, cast

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from app.kit.http.errors import TooManyRequests
from app.kit.redis_url import redis_url

if TYPE_CHECKING:  # a process without a Redis counts by itself
    from redis.asyncio import ConnectionPool

#: Far above what a mistyped key or a script with an old key causes before it is noticed.
_FAILURES = RateLimitItemPerMinute(60, namespace="failures")
#: Redis answers within a millisecond; a request must not wait for one that does not.
_PATIENCE_SECONDS = 0.25
#: Time until a Redis that did not answer is tried again.
_PAUSE_SECONDS = 10.0
#: Requests that find all of them in use wait for one.
_CONNECTIONS = 16
#: Between two tries of work that waits for its rate.
_PACE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class RateLimits:
    """Count requests, images and failures by key or address. For one event loop."""

    def __init__(
        self, requests_per_minute: int, images_per_minute: int, broker_url: str = ""
    ) -> None:
        """`broker_url`: a Redis that counts for all processes. Default: count in this process."""
        self._requests = RateLimitItemPerMinute(requests_per_minute, namespace="requests")
        self._images = RateLimitItemPerMinute(images_per_minute, namespace="images")
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool = _pool(broker_url) if broker_url else None
        self._shared = None if self._pool is None else _limiter(self._pool)
        self._away_until = 0.0

    async def request(self, who: str) -> None:
        """Count a request. Raises TooManyRequests; a refused request is not counted."""
        await self._count(self._requests, who, "requests per minute")

    async def failure(self, who: str) -> None:
        """Count an invalid key. Raises TooManyRequests; a refused request is not counted."""
        await self._count(_FAILURES, who, "requests with an invalid key per minute")

    async def images(self, who: str, count: int) -> None:
        """Count images. Raises TooManyRequests; refused images are not counted."""
        await self._count(self._images, who, "images per minute", count)

    async def pace_images(self, who: str, count: int) -> None:
        """Count images; wait until the limit allows them."""
        count = min(count, self._images.amount)
        while await self._seconds_to_wait(self._images, who, count):
            await asyncio.sleep(_PACE_SECONDS)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def _count(self, item: RateLimitItem, who: str, what: str, cost: int = 1) -> None:
        seconds = await self._seconds_to_wait(item, who, cost)
        if seconds:
            raise TooManyRequests(
                f"Rate limit exceeded ({item.amount:,} {what}). Retry after {seconds} s.",
                headers={"Retry-After": str(seconds)},
            )

    async def _seconds_to_wait(self, item: RateLimitItem, who: str, cost: int) -> int:
        """Return 0 if the limit allows `cost`, which is then counted."""
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    return await _hit(self._shared, item, who, cost)
            except (StorageError, OSError, TimeoutError) as error:
                if time.monotonic() >= self._away_until:
                    _log.warning("rate limits are counted per process", error=repr(error))
                self._away_until = time.monotonic() + _PAUSE_SECONDS
        return await _hit(self._own, item, who, cost)


async def _hit(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, who: str, cost: int
) -> int:
    if await limiter.hit(item, who, cost=cost):
        return 0
    wait = (await limiter.get_window_stats(item, who)).reset_time - time.time()
    return max(1, math.ceil(wait))


def _pool(broker_url: str) -> ConnectionPool:
    from redis.asyncio import BlockingConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return BlockingConnectionPool.from_url(
        redis_url(broker_url),
        max_connections=_CONNECTIONS,
        timeout=_PATIENCE_SECONDS,
        socket_timeout=_PATIENCE_SECONDS,
        socket_connect_timeout=_PATIENCE_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _limiter(pool: ConnectionPool) -> SlidingWindowCounterRateLimiter:
    # The pool has the address; the library needs a URL as well.
    storage = RedisStorage(
        "async+redis://",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix="dspt-limits",
        connection_pool=cast("str", pool),  # the library's annotation is too narrow
    )
    return SlidingWindowCounterRateLimiter(storage)
