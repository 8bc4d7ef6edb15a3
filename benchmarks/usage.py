"""Resources that processes use: memory, CPU time and open files. Needs Linux."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


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
    """Return the usage of these processes and all their descendants.

    Raises ProcessLookupError if one of `roots` has ended.
    """
    try:
        first = [psutil.Process(root) for root in roots]
        below = [child for each in first for child in each.children(recursive=True)]
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(str(error)) from error
    return usage([*first, *below])


def usage(processes: Sequence[psutil.Process]) -> Usage:
    """Return the usage of these processes. Raises OSError if the first one has ended."""
    first, memory, cpu_seconds, count = processes[0], 0, 0.0, 0
    for process in processes:
        try:
            memory += process.memory_full_info().pss
            cpu_seconds += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue  # such as a connection of PostgreSQL that was just closed
        count += 1
    waited = int(Path(f"/proc/{first.pid}/schedstat").read_text().split()[1])
    main_thread = next(thread for thread in first.threads() if thread.id == first.pid)
    return Usage(
        memory=memory,
        cpu_seconds=cpu_seconds,
        waited_seconds=waited / 1e9,
        files=first.num_fds(),
        processes=count,
        main_thread_seconds=main_thread.user_time + main_thread.system_time,
    )
