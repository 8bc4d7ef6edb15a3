"""Where the files of a data set come from: the common part of folders and zips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar

from dspt.data.hostile.limits import Limits
from dspt.data.names import natural_key
from dspt.errors import ImageError

Handle = TypeVar("Handle")


class Source(ABC, Generic[Handle]):
    """Named files that are read into memory one at a time; nothing is ever written.

    Reading is safe from several threads, not from forked processes.
    """

    def __init__(
        self,
        members: dict[str, Handle],
        folders: Iterable[str],
        limits: Limits,
        stored_bytes: int = 0,
    ) -> None:
        self._members = members
        self._folders = tuple(sorted(folders, key=natural_key))
        self.limits = limits
        self.stored_bytes = stored_bytes
        """Bytes that all of it takes on disk."""
        self._order()

    def _order(self) -> None:
        self._files = tuple(sorted(self._members, key=natural_key))

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all files, `/` between folders, naturally sorted."""
        return self._files

    @property
    def folders(self) -> tuple[str, ...]:
        """Paths of the folders that the source lists, naturally sorted."""
        return self._folders

    def strip_top(self, top: str) -> None:
        """Name the files under the folder `top` without it; the others keep their names."""
        prefix = top + "/"
        self._members = {p.removeprefix(prefix): handle for p, handle in self._members.items()}
        self._folders = tuple(f.removeprefix(prefix) for f in self._folders if f != top)
        self._order()

    def read(self, path: str) -> bytes:
        """The whole of one file. Raises ImageError where it is missing, too large or damaged."""
        try:
            handle = self._members[path]
        except KeyError:
            raise ImageError("there is no such file", param=path) from None
        return self._read(path, handle)

    @abstractmethod
    def _read(self, path: str, handle: Handle) -> bytes: ...

    @abstractmethod
    def close(self) -> None:
        """Let go of open files; reading on is an error."""

    def _too_large(self, path: str) -> ImageError:
        allowed = self.limits.max_file_bytes
        return ImageError(f"larger than the {allowed:,} bytes allowed for one file", param=path)
