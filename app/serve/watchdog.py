"""`python -m app.serve.watchdog`: ends the supervisor's parts when the supervisor is gone.

Reads `+GROUP` and `-GROUP` lines (process group ids) from standard input. At its end, which the
system brings about however the supervisor died, every group still listed gets SIGTERM and, after
a grace period, SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

#: Enough for Redis to write its file and for the API to answer what it holds.
GRACE_SECONDS = 5.0


def send(group: int, number: int) -> bool:
    """Signal a process group (0: only look); says whether it still exists."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS's answer for a group of zombies
        return False
    return True


def end(groups: Iterable[int], grace: float) -> None:
    """SIGTERM to every group, SIGKILL to those that are left after `grace` seconds."""
    left = [group for group in groups if send(group, signal.SIGTERM)]
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        time.sleep(0.05)  # between two looks
        left = [group for group in left if send(group, 0)]
    for group in left:
        send(group, signal.SIGKILL)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's signals are the supervisor's
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change, group = line[0], int(line[1:])
        if change == "+":
            groups.add(group)
        else:
            groups.discard(group)
    end(groups, GRACE_SECONDS)


if __name__ == "__main__":
    main()
