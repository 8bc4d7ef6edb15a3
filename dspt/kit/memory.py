"""Memory that this process may use, and memory that it gives back. Imports nothing large."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dspt.kit.cpus import cgroup_directories


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process's control group may use; None if there is no limit.

    It is the smallest limit of the group and its parents, and less than the memory of the machine.
    root: parent folder of /proc and /sys.
    """
    limits = [
        limit
        for directory in cgroup_directories(root, "memory")
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        if (limit := _read(directory / name)) is not None
    ]
    machine = _machine_memory(root)
    smallest = min(limits, default=None)
    # Version 1 has a huge number instead of no limit.
    return None if smallest is None or (machine and smallest >= machine) else smallest


def available_memory(root: Path = Path("/")) -> int | None:
    """Return `memory_limit`, or the memory of the machine; None if that is unknown."""
    return memory_limit(root) or _machine_memory(root)


def trim() -> None:
    """Give free memory of the C allocator back to the system. No effect without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def permanent() -> Iterator[None]:
    """Run the block without garbage collection; what it made is never examined for garbage.

    For the imports at the start of a process, whose modules live as long as it does: collections
    would take a sixth of their time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _read(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # else `max`


def _machine_memory(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return 1024 * int(fields["MemTotal"].split()[0])
