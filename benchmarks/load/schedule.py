"""When requests are due: an open loop, which does not wait for the answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator


def arrivals(rate: float, begin: float, end: float, rng: random.Random) -> Iterator[float]:
    """Moments from `begin` to `end`, `rate` a second on average, each whenever it likes."""
    at = begin
    while rate > 0:
        at += rng.expovariate(rate)
        if at >= end:
            return
        yield at


async def due(moments: Iterator[float]) -> AsyncIterator[float]:
    """Each moment once it has come; those that were missed, at once."""
    loop = asyncio.get_running_loop()
    for moment in moments:
        wait = moment - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        yield moment
