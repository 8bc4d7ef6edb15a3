"""One `dspt serve` per data directory, by a lock that the system releases with its last holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.serve import ServeError

#: The watchdog of a killed supervisor holds the lock while it ends the parts: up to
#: watchdog.GRACE_SECONDS and a little more.
_PATIENCE_SECONDS = 15.0


@contextmanager
def lock_data_dir(path: Path, url: str, patience: float = _PATIENCE_SECONDS) -> Iterator[IO[str]]:
    """Lock the file `path` for the block; a child that inherits the file keeps it locked.

    url: the address of this service, for the message of a second one. Raises ServeError if a
    running process holds the lock, or any process for more than `patience` seconds.
    """
    with path.open("a+") as file:
        deadline = time.monotonic() + patience
        while not _try_lock(file):
            file.seek(0)
            pid, _, other_url = file.read().partition(" ")
            if pid.isdecimal() and _is_running(int(pid)):
                raise ServeError(
                    f"DSPT already runs on {path.parent} (process {pid}, {other_url}).\n"
                    f"Use it, stop it with `kill {pid}`, or choose another --data-dir."
                )
            if time.monotonic() > deadline:
                raise ServeError(
                    f"{path} is locked: another `dspt serve` is starting or ending. Try again in "
                    "a moment, or choose another --data-dir."
                )
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"{os.getpid()} {url}")
        file.flush()
        yield file
        file.truncate(0)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of another user
        return True
    return True
