"""When a request is sent again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import SystemRandom

import httpx

#: The service, or a proxy before it, is busy or being started again.
_PASSING = frozenset({429, 502, 503, 504})
#: A wait that the service asks for is kept up to this; whoever has to wait longer is told so.
LONGEST_SECONDS = 60.0
_random = SystemRandom()


@dataclass(frozen=True)
class Retries:
    """How often a request that may be sent twice is tried again, and how long between."""

    most: int = 4
    #: Doubled each time, and up to half of it left out by chance, so that many who failed at the
    #: same moment do not come back at the same moment.
    first_seconds: float = 0.5
    cap_seconds: float = 8.0

    def pause(self, tries: int) -> float | None:
        """Seconds to wait after `tries` failures in a row; None: give up."""
        if tries > self.most:
            return None
        longest = min(self.cap_seconds, self.first_seconds * 2 ** (tries - 1))
        return _random.uniform(longest / 2, longest)

    def after(self, response: httpx.Response, tries: int) -> float | None:
        """The same after an answer that is an error; `Retry-After` is the least."""
        pause = self.pause(tries)
        if not is_passing(response.status_code) or pause is None:
            return None
        asked = _retry_after(response.headers.get("Retry-After", ""))
        return None if asked > LONGEST_SECONDS else max(pause, asked)


def is_passing(status: int) -> bool:
    """Whether an answer of this status may be another one in a moment."""
    return status in _PASSING


def is_broken(error: httpx.RequestError) -> bool:
    """Whether no connection came about or it broke, so that another try may go better.

    A service that takes longer than the time allowed is not asked to do the same again.
    """
    return isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout))


def _retry_after(text: str) -> float:
    """Seconds; the header holds them, or a date."""
    if text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
