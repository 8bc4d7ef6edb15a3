"""Wait for the end of what a worker computes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from dspt_client._connection import Connection
from dspt_client._packing import OnProgress
from dspt_client.schemas.status import TERMINAL

#: Between two requests: short at first, for what takes a moment, and doubled each time.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0


class _Work(Protocol):
    @property
    def status(self) -> str: ...

    @property
    def done(self) -> int: ...

    @property
    def images(self) -> int | None: ...


W = TypeVar("W", bound=_Work)


async def ended(
    connection: Connection,
    get: Callable[[], Awaitable[W]],
    phase: str,
    timeout: float | None,
    on_progress: OnProgress,
) -> W:
    """Return what `get` returns once it has ended, or after `timeout` seconds.

    `on_progress` is called with `phase`, the number of images done, and the total.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE_SECONDS
    while True:
        found = await get()
        on_progress(phase, found.done, found.images or 0)
        if found.status in TERMINAL or (deadline is not None and time.monotonic() > deadline):
            return found
        await connection.io.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
