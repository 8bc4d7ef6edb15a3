"""Repeat work in background threads, and tell whether it still makes progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_log = structlog.get_logger(__name__)

#: A failing loop backs off to this interval, unless its own is longer.
_LONGEST_PAUSE_SECONDS = 5.0
#: A loop is stuck after this many rounds, plus a margin for a loaded machine.
_STUCK_ROUNDS, _STUCK_MARGIN_SECONDS = 5, 60.0
#: Longest wait for a round to end when the process stops.
_STOP_SECONDS = 2.0


class Loop:
    """Call `work` every `seconds` in a thread of its own; `wake` starts a round at once.

    An error does not end the loop: it is logged with its traceback, once per kind until a round
    succeeds again, and the next rounds come at growing intervals.
    """

    def __init__(self, name: str, work: Callable[[], object], seconds: float) -> None:
        self.name = name
        self.last_success: float | None = None
        """Unix time of the end of the last round without an error."""
        self.runs: Callable[[], bool] = lambda: True
        """Whether rounds do anything; if not, this process only waits."""
        self._work = work
        self._seconds = seconds
        self._wake = threading.Event()
        self._stopping = False
        self._last_sign: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._last_sign = time.monotonic()
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def request_stop(self) -> None:
        """Start no further round."""
        self._stopping = True
        self._wake.set()

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Stop, and wait a moment for the running round."""
        self.request_stop()
        if self._last_sign is not None:
            self._thread.join(seconds)

    @property
    def stuck(self) -> bool:
        """Whether a round takes too long, or the thread died. Failing rounds are not stuck."""
        if self._last_sign is None or self._stopping:
            return False
        limit = _STUCK_ROUNDS * self._seconds + _STUCK_MARGIN_SECONDS
        return time.monotonic() - self._last_sign > limit

    def _run(self) -> None:
        failures = 0
        logged: set[type[Exception]] = set()
        while not self._stopping:
            self._wake.clear()
            try:
                if self.runs():
                    self._work()
            except Exception as error:  # noqa: BLE001 - a loop survives any error
                failures += 1
                if type(error) not in logged:
                    _log.exception(f"{self.name} failed; retrying")
                    logged.add(type(error))
            else:
                self.last_success = time.time()
                if failures:
                    _log.info(f"{self.name} recovered", failures=failures)
                failures = 0
                logged.clear()
            self._last_sign = time.monotonic()
            self._wake.wait(self._pause(failures))

    def _pause(self, failures: int) -> float:
        longest = max(self._seconds, _LONGEST_PAUSE_SECONDS)
        return min(self._seconds * 2.0 ** min(failures, 32), longest)


def stop_all(loops: Sequence[Loop]) -> None:
    """Stop loops together: all of them have the moment that one has."""
    for loop in loops:
        loop.request_stop()
    end = time.monotonic() + _STOP_SECONDS
    for loop in loops:
        loop.stop(max(0.0, end - time.monotonic()))


class LoopsCollector(Collector):
    """Metrics of loops: when each last succeeded."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "dspt_loop_last_success_timestamp_seconds",
            "Unix time of the last round of a background loop without an error; 0: never.",
            labels=["loop"],
        )
        for loop in self._loops:
            family.add_metric([loop.name], loop.last_success or 0)
        yield family
