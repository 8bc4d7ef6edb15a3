"""An object in a process of its own, whose methods are called one at a time."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.skeleton.program import BenchmarkError


class Child:
    """Ends with the `with` block, even during a call."""

    def __init__(self, name: str, make: Callable[..., Any], *arguments: Any) -> None:
        """`make` is called with these arguments in the process; both must be picklable."""
        context = get_context("spawn")
        self._name = name
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        self._process.start()
        other.close()

    def ready(self) -> None:
        """Wait until the object is made. Raises BenchmarkError."""
        self.call("")

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of the object. Raises BenchmarkError."""
        try:
            self._pipe.send((method, arguments))
            failed, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            status = f"{self._process.exitcode} (-9: out of memory)"
            raise BenchmarkError(
                f"{self._name}: its process ended with exit status {status}"
            ) from None
        if failed:
            raise BenchmarkError(f"{self._name}: {answer}")
        return answer

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    made, failure = None, ""
    try:
        made = make(*arguments)
    except Exception:  # noqa: BLE001 - the parent raises it
        failure = traceback.format_exc()
    while True:
        try:
            method, given = pipe.recv()
        except EOFError:
            return
        answer: Any = None
        try:
            if method and not failure:
                answer = getattr(made, method)(*given)
            pipe.send((bool(failure), failure or answer))
        except Exception:  # noqa: BLE001 - the parent raises it
            pipe.send((True, traceback.format_exc()))
