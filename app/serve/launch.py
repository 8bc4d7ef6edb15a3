"""`python -m app.serve.launch PARENT NICE COMMAND...`: become COMMAND, and end with PARENT.

Done in a program of its own, not between fork and exec, where only little is safe.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask Linux for SIGTERM when `parent` dies; elsewhere the watchdog alone sees to that."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(f"process {parent} is gone")


def main() -> None:
    parent, nice, *command = sys.argv[1:]
    die_with_parent(int(parent))
    os.nice(int(nice))
    # What app.serve.part gave: no shell, and nothing that a request said.
    os.execvp(command[0], command)  # nosec B606


if __name__ == "__main__":
    main()
