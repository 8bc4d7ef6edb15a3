"""Read a part of an object without fetching all of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

from app.kit.cache import SizedCache

#: What is fetched at least: some photos, or the directory of a zip with 10,000 files.
BLOCK_BYTES = 1024**2


class RemoteFile:
    """An object in a bucket; what code that reads a zip uses of `pathlib.Path`."""

    def __init__(
        self, key: str, size: int, fetch: Callable[[int, int], bytes], blocks: SizedCache[bytes]
    ) -> None:
        """fetch: returns the bytes of the object from the first offset to the second."""
        self._key = key
        self.size = size
        self._fetch = fetch
        self._blocks = blocks

    def open(self, _mode: Literal["rb"] = "rb", _buffering: Literal[0] = 0) -> io.RawIOBase:
        """Open it for reading. Reads raise OSError."""
        return _Reader(self)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`; blocks that are not in memory are fetched."""
        first, last = start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        parts: list[bytes] = []
        for number in range(first, last + 1):
            block = self._blocks.get(f"{self._key} {number}")
            if block is None:  # the rest in one request
                from_, to = number * BLOCK_BYTES, min((last + 1) * BLOCK_BYTES, self.size)
                parts.append(self._fetch(from_, to))
                self._keep(number, parts[-1])
                break
            parts.append(block)
        skipped = start - first * BLOCK_BYTES
        return b"".join(parts)[skipped : skipped + end - start]

    def _keep(self, first: int, data: bytes) -> None:
        for number, offset in enumerate(range(0, len(data), BLOCK_BYTES), first):
            block = data[offset : offset + BLOCK_BYTES]
            self._blocks.put(f"{self._key} {number}", block, len(block))


class _Reader(io.RawIOBase):
    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise OSError("seek before the start of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._file.size)
        if end <= self._at:
            return 0
        data = self._file.read(self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
