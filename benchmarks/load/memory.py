"""What the parts of the stack take: memory, processor time, open files, sampled while they run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.usage import Usage, usage, usage_of

SECONDS_BETWEEN = 5.0
LOAD = "the load itself"


@dataclass(frozen=True)
class Look:
    at: float
    """Seconds since the measurement began."""
    parts: Mapping[str, Usage]


async def sample(parts: Mapping[str, Sequence[int]], begin: float, looks: list[Look]) -> None:
    """Add a look every few seconds from the loop's time `begin` on, until cancelled.

    `parts`: name -> ids of its first processes.
    """
    loop = asyncio.get_running_loop()
    while True:
        number = max(0, round((loop.time() - begin) / SECONDS_BETWEEN + 0.5))
        await asyncio.sleep(begin + number * SECONDS_BETWEEN - loop.time())
        at = loop.time() - begin
        looks.append(Look(at, await asyncio.to_thread(_everybody, parts)))


def _everybody(parts: Mapping[str, Sequence[int]]) -> dict[str, Usage]:
    found = {name: usage_of(roots) for name, roots in parts.items()}
    return found | {LOAD: usage([os.getpid()])}  # all the others are children of this one
