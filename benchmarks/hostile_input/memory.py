"""Memory of a process, from Linux' /proc; 0 for a process that is gone."""

from __future__ import annotations

from pathlib import Path

KIB = 1024
_SELF = "self"


def resident(pid: int | str = _SELF) -> int:
    """Bytes in memory now."""
    return _field(pid, "VmRSS")


def peak(pid: int | str = _SELF) -> int:
    """Most bytes that were in memory at once since the start, or since `forget_peak`."""
    return _field(pid, "VmHWM")


def forget_peak(pid: int | str = _SELF) -> None:
    """Measure the peak from here on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _field(pid: int | str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith(name)), 0)
