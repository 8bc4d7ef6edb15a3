"""A process of its own that does what it is asked, one thing at a time."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

Do = Callable[[Any], Any]
"""An order, which can be pickled, to what comes of it."""


class ChildError(Exception):
    """It failed; says how."""


class Child:
    """Ends with the `with` block, whatever it is at."""

    def __init__(self, make: Callable[..., Do], *arguments: Any) -> None:
        """`make` is called in the process, with these arguments."""
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        self._process.start()
        other.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, order: Any) -> Any:
        """What comes of it. Raises ChildError."""
        self.start(order)
        return self.result()

    def start(self, order: Any) -> None:
        """Let it begin; `result` waits for the end."""
        self._pipe.send(order)

    def result(self) -> Any:
        """What came of the order that was started. Raises ChildError."""
        try:
            ok, found = self._pipe.recv()
        except EOFError as error:
            raise ChildError("the process ended") from error
        if not ok:
            raise ChildError(found)
        return found

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, make: Callable[..., Do], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the other's, who ends this one
    do: Do | None = None
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        try:
            do = do or make(*arguments)
            answer = True, do(order)
        except Exception:  # noqa: BLE001 - whatever it is, whoever asks is told
            answer = False, traceback.format_exc()
        pipe.send(answer)
