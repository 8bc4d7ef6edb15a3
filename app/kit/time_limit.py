"""Give up on calls of a library that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

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
        itself goes on in its thread until its next progress, which then raises TimeoutError, too.
        Raises the errors of `work`.
        """
        if time.monotonic() < self._silent_until:
            raise TimeoutError(f"{self._service} did not answer a moment ago")
        call = _Call(work)
        threading.Thread(target=call.run, daemon=True).start()
        while not call.result.done():
            if not call.progress.wait(self._seconds + extra_seconds):
                call.given_up = True
                self._silent_until = time.monotonic() + self._seconds
                raise TimeoutError(f"{self._service} did not answer within {self._seconds:g} s")
            call.progress.clear()
        return call.result.result()


class _Call(Generic[T]):
    """A call in a thread of its own."""

    def __init__(self, work: Callable[[Callable[[], None]], T]) -> None:
        self._work = work
        self.result: Future[T] = Future()
        self.progress = threading.Event()
        self.given_up = False

    def run(self) -> None:
        try:
            self.result.set_result(self._work(self._report))
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
            self.result.set_exception(error)
        self.progress.set()

    def _report(self) -> None:
        if self.given_up:
            raise TimeoutError("the caller has given up")
        self.progress.set()
