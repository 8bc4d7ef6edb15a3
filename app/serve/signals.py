"""Waiting that a signal or a child's death cuts short."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: One Ctrl-C may arrive twice: from the terminal and from a program between it and us.
_SAME_REQUEST_SECONDS = 1.0


class Waker:
    """What has been asked for by signal, and a wait that ends when one comes."""

    def __init__(self, reader: socket.socket) -> None:
        self._reader = reader
        self.stop_requests = 0
        """How often a stop was asked for: once is a request, twice is an order."""
        self._last_request = float("-inf")

    def wait(self, seconds: float) -> None:
        """Return at a signal (SIGCHLD among them), or after `seconds`."""
        if select.select([self._reader], [], [], seconds)[0]:
            self._reader.recv(4096)

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last_request > _SAME_REQUEST_SECONDS:
            self.stop_requests += 1
            self._last_request = now


@contextmanager
def waking_on_signals() -> Iterator[Waker]:
    """Take over the stop signals and SIGCHLD for the length of the block. Main thread only."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    waker = Waker(reader)
    old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, waker._count) for number in _STOP}
    # Without a handler of its own SIGCHLD would not write to the wake-up socket.
    handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    try:
        yield waker
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)
        reader.close()
        writer.close()
