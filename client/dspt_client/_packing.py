"""A folder of photos as a zip to upload."""

from __future__ import annotations

import os
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from warnings import warn

from dspt_client._checks import check_names, check_zip
from dspt_client._exceptions import NotSent

#: Called with the step (`packing`, in files; `sending`, in bytes), how much is done, and the total.
OnProgress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Ignore the progress."""


@contextmanager
def zip_file(
    data: Path, on_progress: OnProgress = silent, *, top: str = ""
) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of a zip, or of a folder zipped into a temporary file.

    top: of a folder, the folder in the zip that everything is put into, such as `cat/`.

    Hidden files are not sent, nor are links that lead out of the folder (with a warning). Photos
    are compressed already, so they are stored uncompressed. Raises NotSent if nothing is left, and
    OSError.
    """
    if not data.is_dir():
        with data.open("rb") as file:
            yield data.name, file
        return
    folders, files, not_sent = _list(data)
    if not_sent:
        warn(f"not sent, because they lead out of {data}: {', '.join(not_sent)}", stacklevel=2)
    if not files:
        raise NotSent(f"{data}: contains no files to send.")
    with tempfile.TemporaryFile(prefix="dspt-") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            # An empty folder is a class without photos: the service reports it.
            for folder in folders:
                archive.writestr(zipfile.ZipInfo(f"{top}{folder}/"), b"")
            for number, (name, path) in enumerate(files.items(), 1):
                # A plain ZipInfo has a fixed date: the same photos make the same zip.
                archive.writestr(zipfile.ZipInfo(top + name), path.read_bytes())
                on_progress("packing", number, len(files))
        file.seek(0)
        yield f"{data.resolve().name}.zip", file


def check_data(data: Path) -> None:
    """Raise NotSent if a zip or folder cannot be photos of two classes, and OSError."""
    if data.is_dir():
        check_names(str(data), _list(data)[1])
    else:
        check_zip(data)


def _list(root: Path) -> tuple[list[str], dict[str, Path], list[str]]:
    """Return folders, files by name in the zip, and names that lead out of `root`; all sorted."""
    inside = root.resolve()
    folders: list[str] = []
    files: dict[str, Path] = {}
    outside: list[str] = []
    for here, inner, names in os.walk(root, onerror=_raise):
        inner[:] = [name for name in inner if not name.startswith(".")]
        folder = Path(here)
        for name in (*inner, *names):
            path = folder / name
            sent_as = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
            if name.startswith("."):
                continue
            if path.is_symlink() and (path.is_dir() or not _is_inside(path, inside)):
                outside.append(sent_as)
            elif path.is_dir():
                folders.append(sent_as)
            elif path.is_file():
                files[sent_as] = path
            else:  # a pipe or a device
                outside.append(sent_as)
    return sorted(folders), dict(sorted(files.items())), sorted(outside)


def _is_inside(link: Path, inside: Path) -> bool:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a link to itself, before Python 3.13
        return False
    return target.is_file() and target.is_relative_to(inside)


def _raise(error: OSError) -> None:
    raise error


class Watched:
    """A file that reports how much of it was read, which is how much of an upload was sent."""

    def __init__(self, file: IO[bytes], on_progress: OnProgress) -> None:
        self._file = file
        self._on_progress = on_progress
        self._total = file.seek(0, 2)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._on_progress("sending", self._file.tell(), self._total)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(64 * 1024):
            yield data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
