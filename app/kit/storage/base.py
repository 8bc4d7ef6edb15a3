"""What a storage does, wherever it keeps its files."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from app.kit import storage_keys
from app.kit.storage.ranged import RemoteFile

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class Stored:
    """A file in the storage."""

    name: str
    """Its key, or the name of a temporary file whose writer died."""
    size_bytes: int
    modified_at: datetime


class StorageUnavailable(ConnectionError):
    """The bucket does not answer in time, or at all. The next attempt may succeed."""


class Storage(ABC):
    """Files under keys such as `models/mdl_1.safetensors`. Thread-safe.

    A file is visible only once it is complete; a write that raises changes nothing, except that a
    bucket which does not answer in time may still store the whole file. Errors are OSError.
    """

    url: str
    is_local: bool
    """Whether only this machine is affected if the storage fails."""

    @abstractmethod
    def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes under `key`, replacing an existing file."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> None:
        """Store bytes under a new key. Raises FileExistsError; of several writers one succeeds."""

    @abstractmethod
    def put(self, key: str, source: IO[bytes]) -> None:
        """Store the rest of a stream under `key`, replacing an existing file."""

    @abstractmethod
    def read_bytes(self, key: str) -> bytes:
        """Return the whole file. Raises FileNotFoundError."""

    @abstractmethod
    def local_copy(self, key: str) -> AbstractContextManager[Path]:
        """Yield a local path of the file, valid inside the `with`. Raises FileNotFoundError."""

    @abstractmethod
    def remote_file(self, key: str) -> Path | RemoteFile:
        """Return the file, to read parts of it. Raises FileNotFoundError."""

    @abstractmethod
    def files(self, folder: str = "") -> Iterator[Stored]:
        """Yield all files, or those in a folder such as `features/ds_1`."""

    @abstractmethod
    def move(self, name: str, target: str) -> None:
        """Rename a listed file, replacing a file called `target`. Raises FileNotFoundError."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete a listed file if it still exists."""

    @abstractmethod
    def probe(self) -> None:
        """Check, without a write, that files can be stored. Raises OSError."""

    def upload_url(self, key: str, lifetime: timedelta) -> str | None:
        """Return a URL at which whoever has it can store the file by PUT; None if there is none."""
        checked(key)
        return None

    def delete(self, key: str) -> None:
        """Delete the file if it exists."""
        self.remove(checked(key))

    @contextmanager
    def open(self, key: str) -> Iterator[IO[bytes]]:
        """Open a file for reading. Raises FileNotFoundError."""
        with self.local_copy(key) as path, path.open("rb") as file:
            yield file

    def check(self) -> None:
        """Write, read and delete a test file. Raises OSError."""
        key = storage_keys.check()
        self.put_bytes(key, b"dspt")
        try:
            if self.read_bytes(key) != b"dspt":
                raise OSError(f"{self.url}: a file read back differs from what was written")
        finally:
            self.delete(key)


def checked(key: str) -> str:
    """Return `key`. Raises ValueError if it is not the key of a file within the storage."""
    if not _KEY.fullmatch(key) or ".." in key:
        raise ValueError(f"not a storage key: {key!r}")
    return key
