"""Files (data sets, models, audits) in a folder or bucket, through fsspec."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

import fsspec
from fsspec.callbacks import Callback

from app.kit import storage_keys
from app.kit.time_limit import TimeLimit

T = TypeVar("T")

#: More time for calls to a bucket that report no progress: listing 200,000 files, copying 4 GiB
#: within the bucket, sending a part of a file.
_LISTING_SECONDS = 300.0
_MOVE_SECONDS = 60.0
_PART_SECONDS, _PART_BYTES_PER_SECOND = 4.0, 10 * 1024**2
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class Stored:
    """A file in the storage."""

    name: str
    """Its key, or the name of a temporary file whose writer died."""
    size_bytes: int
    modified_at: datetime


class StorageUnavailable(OSError):
    """The bucket does not answer in time, or at all. The next attempt may succeed."""


class Storage:
    """Keys such as `models/mdl_1.safetensors` under one fsspec URL.

    A file is visible only once it is complete: on a local folder it is written to a temporary file
    and renamed, a bucket gets it from one. Methods on a bucket raise StorageUnavailable if it makes
    no progress for `seconds`, whatever its library would wait.
    """

    def __init__(self, url: str, seconds: float = 5.0) -> None:
        self.url = url
        # Other processes write files, too, so a cached list of them would be out of date.
        self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        protocol = self._fs.protocol
        self.is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)
        self._limit = TimeLimit("the storage", seconds)

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
        with self.local_copy(key) as path, path.open("rb") as file:
            yield file

    def read_bytes(self, key: str) -> bytes:
        """Return the whole file. Raises FileNotFoundError."""
        with self.open(key) as file:
            return file.read()

    def delete(self, key: str) -> None:
        """Delete the file if it exists."""
        self._delete(self._path(key))

    def files(self) -> Iterator[Stored]:
        """Yield all files."""
        root = self._root.rstrip("/") + "/"
        found = self._call(
            lambda _: self._fs.find(root, detail=True, withdirs=False), _LISTING_SECONDS
        )
        for path, info in found.items():
            try:  # S3 lists it; others need a request for each file
                modified = info.get("LastModified") or self._modified(path)
            except FileNotFoundError:  # deleted since it was listed
                continue
            if modified.tzinfo is None:
                modified = modified.replace(tzinfo=UTC)
            yield Stored(path.removeprefix(root), int(info["size"]), modified)

    def remove(self, stored: Stored) -> None:
        """Delete a listed file if it still exists."""
        self._delete(self._root.rstrip("/") + "/" + stored.name)

    def move(self, name: str, target: str) -> None:
        """Rename a listed file, replacing a file called `target`. Raises FileNotFoundError."""
        source, place = (self._root.rstrip("/") + "/" + each for each in (name, target))
        if self.is_local:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            Path(source).replace(place)
        else:
            self._call(lambda _: self._fs.mv(source, place), _MOVE_SECONDS)

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
            self._call(
                lambda progress: self._fs.get_file(path, str(copy), callback=_Progress(progress))
            )
            yield copy

    def check(self) -> None:
        """Write, read and delete a test file. Raises OSError."""
        key = storage_keys.check()
        self.put_bytes(key, b"dspt")
        try:
            if self.read_bytes(key) != b"dspt":
                raise OSError(f"{self.url}: a file read back differs from what was written")
        finally:
            self.delete(key)

    def probe(self) -> None:
        """Check, without a write, that files can be stored. Raises OSError."""
        if not self.is_local:
            self._call(lambda _: self._fs.exists(self._root))
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

    def _modified(self, path: str) -> datetime:
        modified: datetime = self._call(lambda _: self._fs.modified(path))
        return modified

    def _delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._call(lambda _: self._fs.rm_file(path))

    @contextmanager
    def _writing(self, key: str) -> Iterator[IO[bytes]]:
        path = self._path(key)
        if not self.is_local:
            with tempfile.NamedTemporaryFile(prefix="dspt-") as file:
                yield file
                file.flush()
                size = os.fstat(file.fileno()).st_size
                self._call(
                    lambda progress: self._fs.put_file(
                        file.name, path, callback=_Progress(progress)
                    ),
                    min(_PART_SECONDS, size / _PART_BYTES_PER_SECOND),
                )
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

    def _call(self, work: Callable[[Callable[[], None]], T], extra_seconds: float = 0.0) -> T:
        """Return what `work` returns. Raises OSError only; of a bucket, StorageUnavailable."""
        if self.is_local:
            return work(lambda: None)
        try:
            return self._limit.call(work, extra_seconds)
        except FileNotFoundError:
            raise
        except Exception as error:  # each library has errors of its own
            raise StorageUnavailable(str(error)) from error


class _Progress(Callback):  # type: ignore[misc]  # fsspec has no types
    def __init__(self, report: Callable[[], None]) -> None:
        super().__init__()
        self._report = report

    def relative_update(self, inc: int = 1) -> None:
        """Report that bytes were transferred."""
        self._report()
