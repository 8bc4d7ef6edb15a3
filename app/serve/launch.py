"""`python -m app.serve.launch PARENT NICE COMMAND...`: become COMMAND, and end with PARENT.

A program of its own, because little is safe between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Request SIGTERM from Linux when `parent` dies. No effect on other systems."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the request
        sys.exit(f"process {parent} has ended")


if __name__ == "__main__":
    parent, nice, *command = sys.argv[1:]
    die_with_parent(int(parent))
    os.nice(int(nice))
    # The command comes from app.serve.part: no shell, and no input of a request.
    os.execvp(command[0], command)  # nosec B606
