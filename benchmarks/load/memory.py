"""What the parts of the stack take: memory, processor time, open files, sampled while they run."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.services import children_of

SECONDS_BETWEEN = 5.0
LOAD = "the load itself"


@dataclass(frozen=True)
class Usage:
    """Of all processes of one part."""

    memory: int
    """Bytes; a page that several processes share counts once (proportional set size)."""
    cpu_seconds: float
    """Since they started, of those that are there."""
    waited_seconds: float
    """That the main thread of the first process was ready to run and had no processor."""
    files: int
    """Open files and connections of the first process."""
    processes: int


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
    found = {
        name: _usage([process for root in roots for process in _family(root)])
        for name, roots in parts.items()
    }
    return found | {LOAD: _usage([os.getpid()])}  # all the others are children of this one


def _usage(processes: Sequence[int]) -> Usage:
    memory, ticks, count = 0, 0, 0
    for process in processes:
        try:
            memory += _memory(process)
            ticks += _ticks(process)
        except (FileNotFoundError, ProcessLookupError):
            continue  # a connection of PostgreSQL that has just been closed
        count += 1
    files = sum(1 for _ in Path(f"/proc/{processes[0]}/fd").iterdir())
    waited = int(_read(processes[0], "schedstat").split()[1]) / 1e9
    return Usage(memory, ticks / os.sysconf("SC_CLK_TCK"), waited, files, count)


def _family(process: int) -> Iterator[int]:
    yield process
    for child in children_of(process):
        yield from _family(child)


def _memory(process: int) -> int:
    found = re.search(r"^Pss: +(\d+) kB$", _read(process, "smaps_rollup"), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0  # none: it is just ending


def _ticks(process: int) -> int:
    # Behind the name, which may hold anything.
    fields = _read(process, "stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _read(process: int, name: str) -> str:
    return Path(f"/proc/{process}/{name}").read_text()
