"""Signals that request a stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: One Ctrl-C may arrive twice: from the terminal and from a program between it and us.
_SAME_REQUEST_SECONDS = 1.0


class StopSignals:
    """Counts the requests to stop. The first one stops gently, a further one by force."""

    def __init__(self) -> None:
        self.count = 0
        self.interrupted = False
        """Whether the first one was Ctrl-C."""
        self._last = float("-inf")

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if now - self._last > _SAME_REQUEST_SECONDS:
            self.interrupted = self.interrupted or (not self.count and number == signal.SIGINT)
            self.count += 1
            self._last = now


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Handle SIGINT, SIGTERM and SIGHUP during the block. Main thread only."""
    stops = StopSignals()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, stops.receive) for number in numbers}
    try:
        yield stops
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
