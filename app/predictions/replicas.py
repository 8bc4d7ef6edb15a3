"""Which of the processes for predictions gets a request.

Each keeps the backbones that it used last in memory, so requests for one backbone go to the same
process: rendezvous hashing with bounded load. If a process dies, only its own backbones move; if
one is busy, some of its requests go to the next process in the order of their backbone.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

#: The most requests of one process at the same time, as a multiple of the average.
_BOUND = 1.5
#: Time until one that refused a connection is tried again.
_PAUSE_SECONDS = 5.0


class Replicas:
    """Counts the requests that this process has sent to each. For one event loop."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(dict.fromkeys(urls))
        self._running: Counter[str] = Counter()
        self._away_until: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._urls)

    def choose(self, backbone: str | None, tried: Collection[str] = ()) -> str | None:
        """Return the address for a request, None if all were `tried`.

        backbone: that the request needs. None: not known, so the least busy process gets it.
        """
        left = [url for url in self._urls if url not in tried]
        now = time.monotonic()
        alive = [url for url in left if self._away_until.get(url, now) <= now] or left
        if backbone is None or len(alive) <= 1:
            return min(alive, key=self._running.__getitem__, default=None)
        total = 1 + sum(self._running[url] for url in alive)
        most = math.ceil(_BOUND * total / len(alive))
        order = sorted(alive, key=lambda url: blake2b(f"{url} {backbone}".encode()).digest())
        return next(url for url in order if self._running[url] < most)

    def failed(self, url: str) -> None:
        """Send nothing to an address for a while, unless there is no other."""
        self._away_until[url] = time.monotonic() + _PAUSE_SECONDS

    @contextmanager
    def sending(self, url: str) -> Iterator[None]:
        """Count a request to an address."""
        self._running[url] += 1
        try:
            yield
        finally:
            self._running[url] -= 1
