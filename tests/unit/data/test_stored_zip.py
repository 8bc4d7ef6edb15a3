"""A zip on another machine, of which parts are read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from dspt.data.photos import open_photos
from dspt.errors import DatasetError
from tests.unit.dataset_files import write_zip

PHOTOS = {f"{label}/{number}.png": b"x" * 20_000 for label in "ab" for number in range(5)}


class Remote:
    """A zip that can be read until its machine is away."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.away = False

    def open(self, _mode: Literal["rb"], _buffering: Literal[0], /) -> io.RawIOBase:
        return _Stream(self, self._data)


class _Stream(io.RawIOBase):
    def __init__(self, remote: Remote, data: bytes) -> None:
        self._remote, self._file = remote, io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        if self._remote.away:
            raise ConnectionError("away")
        return self._file.readinto(buffer)


def test_a_machine_that_is_away_is_no_fault_of_the_zip(tmp_path: Path) -> None:
    remote = Remote(write_zip(tmp_path / "a.zip", PHOTOS, zipfile.ZIP_STORED).read_bytes())
    with open_photos(remote) as photos:
        assert [photos.read(number) for number in range(10)] == [b"x" * 20_000] * 10
        remote.away = True
        with pytest.raises(ConnectionError):
            photos.read(0)
        with pytest.raises(ConnectionError):
            open_photos(remote)


def test_what_is_no_zip_is_refused() -> None:
    with pytest.raises(DatasetError, match="not a zip"):
        open_photos(Remote(b"no zip"))
