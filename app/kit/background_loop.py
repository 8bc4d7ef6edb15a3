"""Work that is done over and over in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)


class Loop:
    """Calls `work` every `seconds` until stopped; `wake` makes it work at once.

    `failures` are the errors of services that may be away: they are logged once, not each time,
    and the loop goes on. Any other error is a fault in the program and ends the thread.
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
        """Returns when the thread has ended."""
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
                    _log.error(f"{self._name} fails; will try on", error=str(error))
                failing = True
            else:
                if failing:
                    _log.info(f"{self._name} works again")
                failing = False
            self._wake.wait(self._seconds)
