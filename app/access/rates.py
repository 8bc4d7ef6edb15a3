"""How often one may ask, counted in each process of the API."""

from __future__ import annotations

import math
import time
from collections import Counter

from app.kit.errors import TooManyRequests

_MINUTE = 60.0
#: A person who mistypes a key, or a script with an old one, notices long before that.
_FAILURES_PER_MINUTE = 60


class Rates:
    """Counts requests and failures by name; call it from one thread."""

    def __init__(self, requests_per_minute: int) -> None:
        self._requests = _Minutes(requests_per_minute)
        self._failures = _Minutes(_FAILURES_PER_MINUTE)

    def request(self, who: str) -> None:
        """Count a request. Raises TooManyRequests, which does not count."""
        _hit(self._requests, who, "requests a minute, the most that is answered here")

    def failure(self, who: str) -> None:
        """Count a key that was not valid. Raises TooManyRequests, which does not count."""
        _hit(self._failures, who, "tries a minute with keys that are not valid")


def _hit(counts: _Minutes, who: str, what: str) -> None:
    wait = counts.hit(who, time.time())
    if wait is not None:
        seconds = max(1, math.ceil(min(wait, _MINUTE)))
        raise TooManyRequests(
            f"These are more than {counts.most:,} {what}. Try again in {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )


class _Minutes:
    """At most so many in a minute that slides: those of this minute of the clock, and of the one
    before the share that would be in it if they had come evenly.

    All that is kept is two counts for each name. They are counted with each request, so it has to
    cost next to nothing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._minute = 0.0
        self._now: Counter[str] = Counter()
        self._before: Counter[str] = Counter()

    def hit(self, who: str, now: float) -> float | None:
        """Count one; or, where that would be too many, give the seconds until it would not be."""
        minute, into = divmod(now, _MINUTE)
        if minute != self._minute:
            self._before = self._now if minute == self._minute + 1 else Counter()
            self._now, self._minute = Counter(), minute
        mine, before = self._now[who], self._before[who]
        room = self.most - 1 - mine
        if before * (1 - into / _MINUTE) <= room:
            self._now[who] = mine + 1
            return None
        if room >= 0:  # once fewer of the minute before count
            return _MINUTE * (1 - room / before) - into
        return _MINUTE - into + _MINUTE * (1 - (self.most - 1) / mine)
