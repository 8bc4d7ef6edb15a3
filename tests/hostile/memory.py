"""Memory of a process, from Linux' /proc; 0 for a process that has ended."""

from __future__ import annotations

from pathlib import Path

KIB = 1024
_SELF = "self"


def resident(pid: int | str = _SELF) -> int:
    """Return the bytes that are in memory now."""
    return _field(pid, "VmRSS")


def peak(pid: int | str = _SELF) -> int:
    """Return the maximum of `resident` since the start, or since `reset_peak`."""
    return _field(pid, "VmHWM")


def reset_peak(pid: int | str = _SELF) -> None:
    """Let `peak` start again from the current value."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _field(pid: int | str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith(name)), 0)
