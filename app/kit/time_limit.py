"""Give up on calls of a library that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class TimeLimit:
    """Time limit of the calls to one service.

    After a call without an answer, further ones are refused for as long as the limit, so that
    the threads of all requests do not end up waiting.
    """

    def __init__(self, service: str, seconds: float) -> None:
        self._service = service
        self._seconds = seconds
        self._silent_until = float("-inf")

    def call(self, work: Callable[[Callable[[], None]], T], extra_seconds: float = 0.0) -> T:
        """Return what `work` returns. It gets a function to call whenever it makes progress.

        Raises TimeoutError if it makes no progress for the time limit and `extra_seconds`; the call
        itself goes on in its thread. Raises the errors of `work`.
        """
        if time.monotonic() < self._silent_until:
            raise TimeoutError(f"{self._service} did not answer a moment ago")
        result: Future[T] = Future()
        progress = threading.Event()
        threading.Thread(target=_run, args=(work, progress, result), daemon=True).start()
        while not result.done():
            if not progress.wait(self._seconds + extra_seconds):
                self._silent_until = time.monotonic() + self._seconds
                raise TimeoutError(f"{self._service} did not answer within {self._seconds:g} s")
            progress.clear()
        return result.result()


def _run(
    work: Callable[[Callable[[], None]], T], progress: threading.Event, result: Future[T]
) -> None:
    try:
        result.set_result(work(progress.set))
    except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
        result.set_exception(error)
    progress.set()
