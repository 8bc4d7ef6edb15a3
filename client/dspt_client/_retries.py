"""When to repeat a request, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import SystemRandom

import httpx

#: The service, or a proxy in front of it, is busy or restarting.
_PASSING = frozenset({429, 502, 503, 504})
#: The longest `Retry-After` that is waited for; a longer one is an error.
LONGEST_SECONDS = 60.0
_random = SystemRandom()


@dataclass(frozen=True)
class Retries:
    """How often a repeatable request is repeated, and with which pauses."""

    most: int = 4
    #: Doubled each time and reduced at random by up to half, so that clients that failed at the
    #: same moment do not all return at the same moment.
    first_seconds: float = 0.5
    cap_seconds: float = 8.0

    def pause(self, tries: int) -> float | None:
        """Return the seconds to wait after `tries` failures in a row; None: give up."""
        if tries > self.most:
            return None
        longest = min(self.cap_seconds, self.first_seconds * 2 ** (tries - 1))
        return _random.uniform(longest / 2, longest)

    def after(self, response: httpx.Response, tries: int) -> float | None:
        """Return the same for an error response; at least its `Retry-After`."""
        pause = self.pause(tries)
        if not is_passing(response.status_code) or pause is None:
            return None
        asked = _retry_after(response.headers.get("Retry-After", ""))
        return None if asked > LONGEST_SECONDS else max(pause, asked)


def is_passing(status: int) -> bool:
    """Return whether a response of this status is temporary."""
    return status in _PASSING


def is_broken(error: httpx.RequestError) -> bool:
    """Return whether the connection failed or broke, so that another try may succeed.

    A request that timed out is not repeated.
    """
    return isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout))


def _retry_after(text: str) -> float:
    """Return the seconds of a `Retry-After` header, which has seconds or a date."""
    if text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
