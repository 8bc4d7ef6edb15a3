"""`guard.py PID FOLDER`: wait for the end of process PID, stop its descendants, remove FOLDER.

Each pytest process starts a guard and a temporary folder of its own (see guarded.py), so that a
killed test run leaves no `dspt serve`, Redis or PostgreSQL behind. A process belongs to the run if
its environment names FOLDER, also where a test gives it another TMPDIR, or if its working directory
is inside FOLDER (Redis overwrites its environment). Needs Linux's /proc.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

#: `dspt serve` needs a few seconds to stop its parts in order.
GRACE_SECONDS = 10.0
#: Limit for the kernel to end the processes that got SIGKILL.
KILL_SECONDS = 60.0


def guard_this_process(name: str) -> None:
    """Give this process a temporary folder of its own and a guard that cleans up after it."""
    folder = tempfile.mkdtemp(prefix=f"{name}-")
    Path(folder).chmod(0o755)  # PostgreSQL runs as another user than root
    os.environ["TMPDIR"] = os.environ["GUARDED_FOLDER"] = tempfile.tempdir = folder
    start(folder)


def start(folder: str) -> None:
    """Start a guard of this process; the guard inherits no open file."""
    null = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), folder]
    os.posix_spawn(sys.executable, command, {}, file_actions=null, setsid=True)


def processes_of(folder: str) -> Iterator[int]:
    """Ids of the running processes that belong to `folder`, except this one."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
                place = (entry / "cwd").readlink()
            except OSError:  # it has ended, or belongs to another user
                continue
            if folder.encode() in environment or place.is_relative_to(folder):
                yield int(entry.name)


def end_all(folder: str) -> None:
    """SIGTERM to the processes of `folder`, SIGKILL to those left after a grace period."""
    for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        sent: set[int] = set()
        deadline = time.monotonic() + seconds
        while (left := set(processes_of(folder))) and time.monotonic() < deadline:
            for pid in left - sent:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            sent |= left
            time.sleep(0.05)  # poll interval


def main() -> None:
    pid, folder = int(sys.argv[1]), sys.argv[2]
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        pass  # it has ended already
    else:
        if os.getppid() == pid:  # else the id has been reused
            select.select([watched], [], [])
    end_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
