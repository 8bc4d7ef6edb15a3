"""One `dspt serve` per data directory, by a lock that the system drops with its last holder."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from app.serve.errors import AlreadyRunning

#: A supervisor that was killed leaves the lock to its watchdog until its parts are gone; that
#: takes the watchdog's grace period (watchdog.GRACE_SECONDS) and a little more.
_PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Holder:
    """Who runs on a data directory."""

    pid: int
    url: str


class DataDirLock:
    """A held lock. Children that inherit `file` keep it held."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def describe(self, holder: Holder) -> None:
        """Tell others who holds the lock."""
        self.file.seek(0)
        self.file.truncate()
        json.dump(asdict(holder), self.file)
        self.file.flush()


@contextmanager
def lock_data_dir(path: Path, patience: float = _PATIENCE_SECONDS) -> Iterator[DataDirLock]:
    """Hold `path` for the length of the block; raises AlreadyRunning naming who has it."""
    with path.open("a+") as file:
        deadline = time.monotonic() + patience
        while not _try_lock(file):
            holder = _read(file)
            if holder is not None and _alive(holder.pid):
                raise AlreadyRunning(
                    f"DSPT already runs on {path.parent} (process {holder.pid}, {holder.url}).\n"
                    f"Use it, stop it with `kill {holder.pid}`, or choose another --data-dir."
                )
            if time.monotonic() > deadline:
                raise AlreadyRunning(
                    f"{path} is locked by a process that has not said who it is. Another "
                    "`dspt serve` is starting or ending there; try again in a moment, or choose "
                    "another --data-dir."
                )
            time.sleep(0.1)  # between two looks at the lock
        file.seek(0)
        file.truncate()
        yield DataDirLock(file)
        file.seek(0)
        file.truncate()


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: IO[str]) -> Holder | None:
    file.seek(0)
    try:
        return Holder(**json.load(file))
    except (ValueError, TypeError):  # empty, or half written
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, and belongs to another user
        return True
    return True
