"""Repeat work in a background thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)


class Loop:
    """Call `work` every `seconds` until stopped; `wake` starts a round at once.

    `failures` are errors of dependencies that may be unavailable: the first is logged, and the loop
    continues. Any other error is a bug and ends the thread.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        seconds: float,
        failures: tuple[type[Exception], ...],
    ) -> None:
        self._name = name
        self._work = work
        self._seconds = seconds
        self._failures = failures
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """Stop the loop and wait for its thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        failing = False
        while not self._stopping:
            self._wake.clear()
            try:
                self._work()
            except self._failures as error:
                if not failing:
                    _log.error(f"{self._name} failed; retrying", error=str(error))
                failing = True
            else:
                if failing:
                    _log.info(f"{self._name} recovered")
                failing = False
            self._wake.wait(self._seconds)
