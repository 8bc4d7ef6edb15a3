"""`python -m app.serve.watchdog GRACE`: end the supervisor's parts when the supervisor is gone.

The leader of the process group that all parts join. Standard input is a pipe from the supervisor;
the system closes it however the supervisor ends. The group then gets SIGTERM, and SIGKILL after a
grace period of GRACE seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

#: Enough for Redis to write its file and for the API to finish its requests.
GRACE_SECONDS = 5.0


def end(group: int, grace: float) -> None:
    """End a process group that this process does not belong to."""
    deadline = time.monotonic() + grace
    # The error says that the group has ended; macOS reports a group of zombies by EPERM.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # the supervisor handles them
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    group = os.getpgrp()
    if os.fork() == 0:  # a child, because a member of the group cannot see when it is empty
        os.setpgid(0, 0)
        end(group, float(sys.argv[1]))
