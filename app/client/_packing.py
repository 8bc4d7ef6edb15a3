"""A folder of photos as the zip that the service takes."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from warnings import warn

from dspt.data.findings import Findings
from dspt.data.folder import open_folder
from dspt.data.hostile.limits import Limits

#: Called with what is being done (`packing`, in files; `sending`, in bytes), how much of it is
#: done, and how much there is.
OnProgress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Tells nobody."""


@contextmanager
def zip_file(data: Path, told: OnProgress = silent) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of a zip, or of a folder zipped into a file that is deleted afterwards.

    A folder is read as `dspt tune` reads it. Photos are compressed already, so they are stored as
    they are. The file is made where TMPDIR says. Raises OSError, DatasetError, ImageError.
    """
    if not data.is_dir():
        with data.open("rb") as file:
            yield data.name, file
        return
    findings = Findings()
    source, not_read = open_folder(data, Limits(), findings)
    if not_read:
        warn(f"not sent, as they lead out of {data}: {', '.join(sorted(not_read))}", stacklevel=2)
    with tempfile.TemporaryFile(prefix="dspt-") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for folder in source.folders:  # an empty one is a class without photos: to be told
                archive.writestr(zipfile.ZipInfo(folder + "/"), b"")
            for number, path in enumerate(source.files, 1):
                # A ZipInfo has no time of its own: the same photos make the same zip.
                archive.writestr(zipfile.ZipInfo(path), source.read(path))
                told("packing", number, len(source.files))
        file.seek(0)
        yield f"{data.resolve().name}.zip", file


class Watched:
    """A file that tells how much of it was read: how much of an upload is sent."""

    def __init__(self, file: IO[bytes], told: OnProgress) -> None:
        self._file = file
        self._told = told
        self._total = file.seek(0, 2)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._told("sending", self._file.tell(), self._total)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(64 * 1024):
            yield data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
