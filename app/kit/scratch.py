"""A folder for temporary files that can be told from those of a process that died."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".lock"


def make_scratch(root: Path) -> Path:
    """Make a folder below `root` that is this process's until it ends, however it ends.

    Temporary files of the process go there from now on.
    """
    folder = root / secrets.token_hex(8)
    folder.mkdir(parents=True)
    # Held open, and with it locked, until the process ends; the kernel then frees it.
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    tempfile.tempdir = str(folder)
    return folder


def abandoned(root: Path) -> Iterator[Path]:
    """Folders below `root` whose process is gone."""
    if not root.is_dir():
        return
    for folder in root.iterdir():
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:  # being made at this moment
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def size_of(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def remove(folder: Path) -> None:
    """Delete the folder of a process that is gone."""
    shutil.rmtree(folder, ignore_errors=True)  # another process may be deleting it too
