"""Base class of the sources of a data set: folders and zips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar

from dspt.data.hostile.limits import Limits
from dspt.data.names import natural_key
from dspt.errors import ImageError

Handle = TypeVar("Handle")


class Source(ABC, Generic[Handle]):
    """Named files, read into memory one at a time. Nothing is written.

    Reading is thread-safe, but not safe in forked processes.
    """

    def __init__(
        self,
        members: dict[str, Handle],
        folders: Iterable[str],
        limits: Limits,
        stored_bytes: int = 0,
        unpacked_bytes: int | None = None,
    ) -> None:
        self._members = members
        self._folders = tuple(sorted(folders, key=natural_key))
        self.limits = limits
        self.stored_bytes = stored_bytes
        """Total size on disk, in bytes."""
        self.unpacked_bytes = stored_bytes if unpacked_bytes is None else unpacked_bytes
        """Total size of the files, in bytes, as a zip declares it."""
        self._order()

    def _order(self) -> None:
        self._files = tuple(sorted(self._members, key=natural_key))

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all files, with `/` between folders, in natural order."""
        return self._files

    @property
    def folders(self) -> tuple[str, ...]:
        """Paths of the folders that the source lists, in natural order."""
        return self._folders

    def strip_top(self, top: str) -> None:
        """Remove the folders `top` from the paths below; other paths do not change."""
        prefix = top + "/"
        members: dict[str, Handle] = {}
        for path, handle in self._members.items():
            short = path.removeprefix(prefix)
            members[path if short in self._members else short] = handle
        self._members = members
        self._folders = tuple(
            f.removeprefix(prefix) for f in self._folders if not prefix.startswith(f"{f}/")
        )
        self._order()

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises ImageError if missing, too large or damaged."""
        try:
            handle = self._members[path]
        except KeyError:
            raise ImageError("file not found", param=path) from None
        return self._read(path, handle)

    @abstractmethod
    def _read(self, path: str, handle: Handle) -> bytes: ...

    @abstractmethod
    def close(self) -> None:
        """Close open files. Files cannot be read afterwards."""

    def _too_large(self, path: str) -> ImageError:
        allowed = self.limits.max_file_bytes
        return ImageError(f"file too large (limit {allowed:,} bytes)", param=path)
