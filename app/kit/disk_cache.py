"""Least-recently-used caches in a folder, shared by the processes of a machine."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kept:
    """A file of the cache."""

    used_at: float
    size_bytes: int
    path: Path


def kept_in(folder: Path) -> Iterator[Kept]:
    """Yield the files in `folder`; none if it does not exist."""
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            with suppress(FileNotFoundError):  # deleted by another process
                found = entry.stat()
                yield Kept(found.st_mtime, found.st_size, Path(entry.path))


def drop(kept: Iterable[Kept], limit: int, unused_since: float = float("-inf")) -> None:
    """Delete the least recently used until `limit` bytes are left, and those not used since."""
    found = sorted(kept, key=lambda each: each.used_at)
    left = sum(each.size_bytes for each in found)
    for each in found:
        if left > limit or each.used_at < unused_since:
            each.path.unlink(missing_ok=True)
            left -= each.size_bytes


class DiskCache:
    """Bytes by name; the least recently used are deleted. Thread-safe.

    A disk that is full or cannot be written only means that nothing is kept.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """max_bytes: of all files. Each further process may exceed it by a sixteenth."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._share = max_bytes // 16
        self._lock = threading.Lock()
        self._left = 0  # bytes to write until the folder is measured again

    def get(self, name: str) -> bytes | None:
        """Return the bytes and mark them as most recently used; None if missing."""
        path = self._folder / name
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, name: str, data: bytes) -> None:
        """Keep `data` unless it is larger than a sixteenth of the limit."""
        if len(data) > self._share:
            return
        with suppress(OSError):
            self._make_room(len(data))
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(data)
            Path(file.name).replace(self._folder / name)

    def files(self) -> Iterator[Kept]:
        """Return what is kept, and what a writer that died has left."""
        return kept_in(self._folder)

    def _make_room(self, size: int) -> None:
        """Measure the folder once for many writes, and leave room for these."""
        with self._lock:
            if self._left < size:
                drop(self.files(), self._max_bytes - self._share)
                self._left = self._share
            self._left -= size
