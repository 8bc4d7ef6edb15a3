"""What processes take: memory, processor time, open files; needs Linux."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.services import children_of


@dataclass(frozen=True)
class Usage:
    """Of all processes of one part of a service."""

    memory: int
    """Bytes; a page that several processes share counts once (proportional set size)."""
    cpu_seconds: float
    """Since they started, of those that are there."""
    waited_seconds: float
    """That the main thread of the first process was ready to run and had no processor."""
    files: int
    """Open files and connections of the first process."""
    processes: int
    main_thread_seconds: float = 0.0
    """Processor time of the main thread of the first process: its event loop, where it has one."""


def usage_of(roots: Sequence[int]) -> Usage:
    """Of these processes and all that they started."""
    return usage([process for root in roots for process in _family(root)])


def usage(processes: Sequence[int]) -> Usage:
    """Of these processes alone."""
    memory, ticks, count = 0, 0, 0
    for process in processes:
        try:
            memory += _memory(process)
            ticks += _ticks(process, "stat")
        except (FileNotFoundError, ProcessLookupError):
            continue  # a connection of PostgreSQL that has just been closed
        count += 1
    first, second = processes[0], os.sysconf("SC_CLK_TCK")
    return Usage(
        memory=memory,
        cpu_seconds=ticks / second,
        waited_seconds=int(_read(first, "schedstat").split()[1]) / 1e9,
        files=sum(1 for _ in Path(f"/proc/{first}/fd").iterdir()),
        processes=count,
        main_thread_seconds=_ticks(first, f"task/{first}/stat") / second,
    )


def _family(process: int) -> Iterator[int]:
    yield process
    for child in children_of(process):
        yield from _family(child)


def _memory(process: int) -> int:
    found = re.search(r"^Pss: +(\d+) kB$", _read(process, "smaps_rollup"), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0  # none: it is just ending


def _ticks(process: int, file: str) -> int:
    # Behind the name, which may hold anything.
    fields = _read(process, file).rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _read(process: int, name: str) -> str:
    return Path(f"/proc/{process}/{name}").read_text()
