"""Storage in a folder of this machine, or one that all machines mount."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from app.kit import storage_keys
from app.kit.storage.base import Storage, Stored, checked
from app.kit.writable import check_writable

_COPY_BYTES = 1024**2


class LocalStorage(Storage):
    """Files are written to a temporary file, flushed to the disk, and renamed."""

    is_local = True

    def __init__(self, url: str) -> None:
        """url: `file:///FOLDER`, or the path of a folder."""
        self.url = url
        self._root = Path(url.removeprefix("file:").removeprefix("//")).expanduser().absolute()

    def put_bytes(self, key: str, data: bytes) -> None:
        with self._written(key) as part:
            part.write(data)

    def put(self, key: str, source: IO[bytes]) -> None:
        with self._written(key) as part:
            shutil.copyfileobj(source, part, _COPY_BYTES)

    def create(self, key: str, data: bytes) -> None:
        with self._written(key, new=True) as part:
            part.write(data)

    def read_bytes(self, key: str) -> bytes:
        return self._path(key).read_bytes()

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        yield self.remote_file(key)

    def remote_file(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(path)
        return path

    def files(self, folder: str = "") -> Iterator[Stored]:
        for place, _, names in os.walk(self._root / folder, followlinks=True):
            for name in names:
                path = Path(place) / name
                try:
                    found = path.stat()
                except FileNotFoundError:  # deleted since it was listed
                    continue
                modified = datetime.fromtimestamp(found.st_mtime, UTC)
                yield Stored(path.relative_to(self._root).as_posix(), found.st_size, modified)

    def move(self, name: str, target: str) -> None:
        place = self._root / target
        place.parent.mkdir(parents=True, exist_ok=True)
        (self._root / name).replace(place)

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def probe(self) -> None:
        check_writable(self._root)

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    @contextmanager
    def _written(self, key: str, *, new: bool = False) -> Iterator[IO[bytes]]:
        place = self._path(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(storage_keys.part(place.name))
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if new:
                _link(part, place)
            else:
                part.replace(place)
        finally:
            part.unlink(missing_ok=True)


def _link(part: Path, place: Path) -> None:
    """Give a file its name. Raises FileExistsError if there is a file already."""
    try:
        place.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: not safe against a second writer
        if place.exists():
            raise FileExistsError(place) from None
        part.replace(place)
