"""A child process that carries out orders, one at a time."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

Do = Callable[[Any], Any]
"""From an order to its result; both can be pickled."""


class ChildError(Exception):
    """The order failed; the message is the traceback."""


class Child:
    """Ends with the `with` block, even during an order."""

    def __init__(self, make: Callable[..., Do], *arguments: Any) -> None:
        """`make` is called with these arguments in the child process."""
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        self._process.start()
        other.close()

    def ask(self, order: Any) -> Any:
        """Carry out an order; return its result. Raises ChildError."""
        self._pipe.send(order)
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    do: Do | None = None
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        try:
            do = do or make(*arguments)
            answer = True, do(order)
        except Exception:  # noqa: BLE001 - the parent raises it
            answer = False, traceback.format_exc()
        pipe.send(answer)
