"""Resources that processes use: memory, CPU time and open files, from Linux' /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.services import children_of


@dataclass(frozen=True)
class Usage:
    """Of all processes of one part of the service."""

    memory: int
    """Bytes; a page that several processes share counts once (proportional set size)."""
    cpu_seconds: float
    """Since the processes started; those that have ended are not included."""
    waited_seconds: float
    """How long the main thread of the first process was ready to run but had no CPU."""
    files: int
    """Open files and connections of the first process."""
    processes: int
    main_thread_seconds: float = 0.0
    """CPU time of the main thread of the first process, which runs its event loop."""


def usage_of(roots: Sequence[int]) -> Usage:
    """Return the usage of these processes and all their descendants."""
    return usage([process for root in roots for process in _family(root)])


def usage(processes: Sequence[int]) -> Usage:
    """Return the usage of these processes. Raises OSError if the first one has ended."""
    memory, ticks, count = 0, 0, 0
    for process in processes:
        try:
            found = re.search(r"^Pss: +(\d+) kB$", _read(process, "smaps_rollup"), re.MULTILINE)
            memory += 1024 * int(found[1]) if found else 0  # no match: the process is just ending
            ticks += _ticks(process, "stat")
        except (FileNotFoundError, ProcessLookupError):
            continue  # such as a connection of PostgreSQL that was just closed
        count += 1
    first, second = processes[0], os.sysconf("SC_CLK_TCK")
    return Usage(
        memory=memory,
        cpu_seconds=ticks / second,
        waited_seconds=int(_read(first, "schedstat").split()[1]) / 1e9,
        files=len(list(Path(f"/proc/{first}/fd").iterdir())),
        processes=count,
        main_thread_seconds=_ticks(first, f"task/{first}/stat") / second,
    )


def _family(process: int) -> Iterator[int]:
    yield process
    for child in children_of(process):
        yield from _family(child)


def _ticks(process: int, file: str) -> int:
    # The fields follow the name, which may contain anything.
    fields = _read(process, file).rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _read(process: int, name: str) -> str:
    return Path(f"/proc/{process}/{name}").read_text()
