"""Read a data set from a folder."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from dspt.data.findings import Findings
from dspt.data.hostile.limits import Limits
from dspt.data.names import is_noise, unsafe_reason
from dspt.data.source import Source
from dspt.errors import ImageError
from dspt.kit.text import printable


class FolderSource(Source[Path]):
    """Files in a folder. A link is read only if it points to a file inside the same folder."""

    def _read(self, path: str, handle: Path) -> bytes:
        try:
            with handle.open("rb") as file:
                data = file.read(self.limits.max_file_bytes + 1)
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror}", param=path) from error
        if len(data) > self.limits.max_file_bytes:
            raise self._too_large(path)
        return data

    def close(self) -> None:
        return None


def open_folder(root: Path, limits: Limits, findings: Findings) -> tuple[FolderSource, list[str]]:
    """List `root` without reading any file.

    Returns the source and the paths of links and devices that are not read.
    Raises DatasetError for unsafe names and for too many or too large files.
    """
    inside = root.resolve()
    members: dict[str, Path] = {}
    folders: list[str] = []
    not_read: list[str] = []
    total, waiting = 0, [(root, "")]
    while waiting and len(members) <= limits.max_files:
        here, prefix = waiting.pop()
        for entry in _entries(here, findings):
            path = unicodedata.normalize("NFC", prefix + entry.name)
            if is_noise(path):
                continue
            if reason := unsafe_reason(path):
                findings.problem(printable(path), "unsafe_path", reason)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
                waiting.append((Path(entry.path), path + "/"))
            elif not _is_file_within(entry, inside):
                not_read.append(path)
            elif path in members:
                findings.problem(path, "duplicate_name", "two files have this name")
            else:
                members[path] = Path(entry.path)
                total += entry.stat().st_size
    if len(members) > limits.max_files:
        findings.problem(
            "", "too_many_files", f"the folder has more than {limits.max_files:,} files"
        )
    if total > limits.max_total_bytes:
        findings.problem(
            "",
            "too_large",
            f"the files have {total:,} bytes in total (limit {limits.max_total_bytes:,})",
        )
    findings.refuse_if_any()
    return FolderSource(members, folders, limits, total), not_read


def _entries(folder: Path, findings: Findings) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            return list(listing)
    except OSError as error:
        findings.problem(
            printable(str(folder)), "unreadable", f"cannot be listed: {error.strerror}"
        )
        return []


def _is_file_within(entry: os.DirEntry[str], inside: Path) -> bool:
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a link to itself, before Python 3.13
        return False
    return target.is_file() and target.is_relative_to(inside)
