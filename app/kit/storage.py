"""Files (data sets, models, audits) in a folder or bucket, through fsspec."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import fsspec

from app.kit import storage_keys

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class Stored:
    """A file in the storage."""

    name: str
    """Its key, or the name of a temporary file whose writer died."""
    size_bytes: int
    modified_at: datetime


class Storage:
    """Keys such as `models/mdl_1.safetensors` under one fsspec URL.

    On a local folder a file is visible only once it is complete: it is written to a temporary file
    and renamed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)
        protocol = self._fs.protocol
        self.is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes under `key`, replacing an existing file."""
        with self._writing(key) as target:
            target.write(data)

    def put(self, key: str, source: IO[bytes]) -> None:
        """Store the rest of a stream under `key`, replacing an existing file."""
        with self._writing(key) as target:
            shutil.copyfileobj(source, target, 1024 * 1024)

    @contextmanager
    def open(self, key: str) -> Iterator[IO[bytes]]:
        """Open a file for reading. Raises FileNotFoundError."""
        with self._fs.open(self._path(key), "rb") as file:
            yield file

    def read_bytes(self, key: str) -> bytes:
        """Return the whole file. Raises FileNotFoundError."""
        with self.open(key) as file:
            return file.read()

    def delete(self, key: str) -> None:
        """Delete the file if it exists."""
        try:
            self._fs.rm_file(self._path(key))
        except FileNotFoundError:
            return

    def files(self) -> Iterator[Stored]:
        """Yield all files."""
        root = self._root.rstrip("/") + "/"
        for path, info in self._fs.find(root, detail=True, withdirs=False).items():
            try:
                modified = self._fs.modified(path)
            except FileNotFoundError:  # deleted since it was listed
                continue
            if modified.tzinfo is None:
                modified = modified.replace(tzinfo=UTC)
            yield Stored(path.removeprefix(root), int(info["size"]), modified)

    def remove(self, stored: Stored) -> None:
        """Delete a listed file if it still exists."""
        try:
            self._fs.rm_file(self._root.rstrip("/") + "/" + stored.name)
        except FileNotFoundError:
            return

    def move(self, name: str, target: str) -> None:
        """Rename a listed file, replacing a file called `target`. Raises FileNotFoundError."""
        source, place = (self._root.rstrip("/") + "/" + each for each in (name, target))
        self._fs.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
        if self.is_local:
            Path(source).replace(place)
        else:
            self._fs.mv(source, place)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """Yield a local path of the file, valid inside the `with`. Raises FileNotFoundError."""
        path = self._path(key)
        if self.is_local:
            if not Path(path).is_file():
                raise FileNotFoundError(path)
            yield Path(path)
            return
        with tempfile.TemporaryDirectory(prefix="dspt-") as folder:
            copy = Path(folder) / key.rsplit("/", 1)[-1]
            self._fs.get_file(path, str(copy))
            yield copy

    def check(self) -> None:
        """Write, read and delete a test file. Raises OSError, or what the store raises."""
        key = storage_keys.check()
        self.put_bytes(key, b"dspt")
        try:
            if self.read_bytes(key) != b"dspt":
                raise OSError(f"{self.url}: a file read back differs from what was written")
        finally:
            self.delete(key)

    def probe(self) -> None:
        """Check, without a write, that files can be stored.

        Raises OSError, or what the store raises.
        """
        if not self.is_local:
            self._fs.exists(self._root)
            return
        place = Path(self._root)
        while not place.exists():  # it is created with the first file
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(place)
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(place)
        if not shutil.disk_usage(place).free:
            raise OSError(errno.ENOSPC, "no space left", str(place))

    def _path(self, key: str) -> str:
        if not _KEY.fullmatch(key) or ".." in key:
            raise ValueError(f"not a storage key: {key!r}")
        return f"{self._root.rstrip('/')}/{key}"

    @contextmanager
    def _writing(self, key: str) -> Iterator[Any]:
        path = self._path(key)
        if not self.is_local:
            self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            with self._fs.open(path, "wb") as file:
                yield file
            return
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(storage_keys.part(place.name))
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
