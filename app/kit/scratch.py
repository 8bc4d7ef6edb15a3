"""Folders for temporary files, locked by their process, so that abandoned ones are found."""

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
    """Create a folder below `root` that is locked until this process ends, and return it.

    Temporary files of the process go there from now on.
    """
    folder = root / secrets.token_hex(8)
    folder.mkdir(parents=True)
    # Never closed: the kernel releases the lock when the process ends.
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    tempfile.tempdir = str(folder)
    return folder


def abandoned(root: Path) -> Iterator[Path]:
    """Yield the folders below `root` whose process has ended."""
    if not root.is_dir():
        return
    for folder in root.iterdir():
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:  # just being created
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def remove(folder: Path) -> None:
    """Delete the folder of a process that has ended."""
    shutil.rmtree(folder, ignore_errors=True)  # another process may be deleting it too
