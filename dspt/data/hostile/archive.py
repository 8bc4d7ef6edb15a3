"""Read a data set from an untrusted zip, in memory; nothing is unpacked to disk."""

from __future__ import annotations

import io
import stat
import struct
import weakref
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Protocol

from dspt.data.findings import Findings
from dspt.data.formats import recognise
from dspt.data.hostile.limits import MIB, Limits
from dspt.data.hostile.quiet import quiet_libraries
from dspt.data.hostile.unpack import METHODS, UNPACK_ERRORS, unpack
from dspt.data.hostile.zip_names import ROOT, member_names
from dspt.data.names import is_noise, unsafe_reason
from dspt.data.source import Source
from dspt.errors import DatasetError, ImageError, Problem
from dspt.kit.text import printable

_RATIO_MATTERS = MIB
_DIRECTORY_SIGNATURE = b"PK\x01\x02"
_BYTES_PER_ENTRY = 512
"""Average size allowed for an entry of the zip's directory, with name and extra fields."""

_UNIX_SYSTEMS = (3, 19)
"""Systems that store file modes in the external attributes: Unix, macOS."""
_OTHER_METHODS = {9: "deflate64", 93: "zstd"}

_ZIP_ERRORS: tuple[type[Exception], ...] = (
    *UNPACK_ERRORS,
    struct.error,
    NotImplementedError,  # zipfile: an unsupported feature of the format
    RuntimeError,  # zipfile: encrypted
    ValueError,  # a name that is not UTF-8, a negative offset
    EOFError,
    OverflowError,
    OSError,
)


class _TooManyEntriesError(Exception):
    pass


class StoredZip(Protocol):
    """A zip that is not on this machine; what is used here of `pathlib.Path`.

    Reading raises ConnectionError if the other machine does not answer.
    """

    def open(self, mode: Literal["rb"], buffering: Literal[0], /) -> io.RawIOBase:
        """Open it for reading."""


class _ZipFileHandle(io.BufferedReader):
    """File object of a zip that rejects a directory too large for memory while it is opened.

    zipfile reads the whole directory at once and creates an object for every entry.
    """

    def __init__(self, path: Path | StoredZip, max_entries: int) -> None:
        super().__init__(path.open("rb", 0))
        self._size = self.seek(0, io.SEEK_END)
        self.seek(0)
        self._max_entries: int | None = max_entries

    def opened(self) -> None:
        """End the check of the directory."""
        self._max_entries = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self._max_entries is None:
            return super().read(size)
        if size is not None and size > self._size:
            raise zipfile.BadZipFile("the directory is longer than the file")
        if size is not None and size > self._max_entries * _BYTES_PER_ENTRY:
            raise _TooManyEntriesError
        data = super().read(size)
        if data.count(_DIRECTORY_SIGNATURE) > self._max_entries:
            raise _TooManyEntriesError
        return data


class ZipSource(Source[zipfile.ZipInfo]):
    """Members of an open zip. Create it with `open_zip`, which checks the zip first."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        handle: io.BufferedReader,
        members: dict[str, zipfile.ZipInfo],
        folders: list[str],
        limits: Limits,
        stored_bytes: int,
    ) -> None:
        unpacked_bytes = sum(info.file_size for info in members.values())
        super().__init__(members, folders, limits, stored_bytes, unpacked_bytes)
        self._archive = archive
        self._close = weakref.finalize(self, handle.close)

    def _read(self, path: str, handle: zipfile.ZipInfo) -> bytes:
        # The packed size too: a long stream may unpack to nothing.
        if max(handle.file_size, handle.compress_size) > self.limits.max_file_bytes:
            raise self._too_large(path)
        if _ratio(handle) > self.limits.max_ratio:
            ratio = _ratio(handle)
            raise ImageError(f"unpacks to {ratio:,.0f} times its size, like a zip bomb", param=path)
        try:
            return unpack(self._archive, handle)
        except ConnectionError:
            raise
        except _ZIP_ERRORS as error:
            raise ImageError("damaged inside the zip", param=path) from error

    def close(self) -> None:
        self._close()


def open_zip(path: Path | StoredZip, limits: Limits, findings: Findings) -> ZipSource:
    """Read and check the directory of a zip, without unpacking any file.

    Raises DatasetError with all reasons why the zip is unsafe or unreadable.
    """
    _refuse_other_formats(path, findings)
    with ExitStack() as unless_returned:
        handle = _ZipFileHandle(path, 2 * limits.max_files + 1000)  # folders and noise count too
        unless_returned.callback(handle.close)
        try:
            with quiet_libraries():
                archive = zipfile.ZipFile(handle)
        except _TooManyEntriesError:
            raise DatasetError([Problem("", "too_many_files", _too_many(limits))]) from None
        except ConnectionError:
            raise
        except _ZIP_ERRORS as error:
            raise DatasetError([_why_unreadable(error)]) from error
        handle.opened()
        size = handle.seek(0, io.SEEK_END)
        members, folders = _check_directory(archive, size, limits, findings)
        findings.refuse_if_any()
        unless_returned.pop_all()
        return ZipSource(archive, handle, members, folders, limits, size)


def _refuse_other_formats(path: Path | StoredZip, findings: Findings) -> None:
    with path.open("rb", 0) as file:
        start = file.read(512) or b""
    if not start:
        findings.problem("", "not_a_zip", "the file is empty (0 bytes)")
    elif not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        what = recognise(start)
        kind = f"not a zip but {what}" if what else "not a zip"
        findings.problem("", "not_a_zip", f"the file is {kind}; send a .zip file")
    findings.refuse_if_any()


def _why_unreadable(error: Exception) -> Problem:
    if str(error) == "File is not a zip file":  # zipfile found no end record
        return Problem(
            "", "truncated_zip", "the zip is truncated: its end is missing; upload it again"
        )
    return Problem("", "damaged_zip", f"the zip is damaged ({error}); create it again")


def _too_many(limits: Limits) -> str:
    return f"the zip has more than {limits.max_files:,} files"


def _check_directory(
    archive: zipfile.ZipFile, size: int, limits: Limits, findings: Findings
) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    members: dict[str, zipfile.ZipInfo] = {}
    folders: list[str] = []
    infos = archive.infolist()
    for info, path in zip(infos, member_names(infos, findings), strict=True):
        if path == ROOT:
            continue
        is_folder = path.endswith("/")
        path = path[:-1] if is_folder else path
        noise = is_noise(path)
        # macOS names the picture of a folder "Icon" and a carriage return.
        if reason := unsafe_reason(path.removesuffix("\r") if noise else path):
            findings.problem(printable(path), "unsafe_path", reason)
        elif noise:
            continue
        elif is_folder:
            folders.append(path)
        elif path in members:
            findings.problem(path, "duplicate_name", "the zip has two files with this name")
        else:
            _check_member(path, info, findings)
            members[path] = info
    _check_files_are_not_folders(members, folders, findings)
    _check_layout_of_bytes(archive, findings)
    _check_totals(members, size, limits, findings)
    return members, folders


def _check_member(path: str, info: zipfile.ZipInfo, findings: Findings) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system in _UNIX_SYSTEMS else 0
    if kind == stat.S_IFLNK:
        findings.problem(path, "symlink", "a symbolic link; add the file itself to the zip")
    elif kind not in (0, stat.S_IFREG):
        findings.problem(path, "special_file", "not a regular file")
    if info.flag_bits & 0x1:
        findings.problem(path, "encrypted", "encrypted; create the zip without a password")
    elif info.compress_type not in METHODS:
        method = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
        findings.problem(
            path,
            "unsupported_compression",
            f"compressed with {method}, which is not supported; use deflate or store",
        )


def _check_files_are_not_folders(
    members: dict[str, zipfile.ZipInfo], folders: list[str], findings: Findings
) -> None:
    # Not a set of all folders: for many long paths with different folders it would be huge.
    both = set()
    for path in (*members, *(f"{folder}/" for folder in folders)):
        end = path.find("/")
        while end >= 0:
            if path[:end] in members:
                both.add(path[:end])
            end = path.find("/", end + 1)
    for path in sorted(both):
        findings.problem(path, "duplicate_name", "is both a file and a folder")


def _check_layout_of_bytes(archive: zipfile.ZipFile, findings: Findings) -> None:
    """Report members that share bytes, and data before the first member.

    With shared bytes a small zip unpacks to a huge one. Another reader might use the data before
    the first member as the content.
    """
    end = 0
    for n, info in enumerate(sorted(archive.infolist(), key=lambda i: i.header_offset)):
        start = info.header_offset
        if n == 0 and start != 0:
            findings.problem("", "damaged_zip", "the zip has other data before its first file")
        if start < end:
            findings.problem(
                printable(info.orig_filename),
                "overlapping_entries",
                "shares bytes with another file",
            )
        # The fixed part of a local header has 30 bytes; its name is at least as long as this one.
        end = max(end, start + 30 + len(info.orig_filename) + info.compress_size)
    if end > archive.start_dir:
        findings.problem("", "damaged_zip", "a file in the zip overlaps the zip's directory")


def _check_totals(
    members: dict[str, zipfile.ZipInfo], size: int, limits: Limits, findings: Findings
) -> None:
    total = sum(info.file_size for info in members.values())
    if len(members) > limits.max_files:
        findings.problem("", "too_many_files", _too_many(limits))
    if total > limits.max_total_bytes:
        findings.problem(
            "",
            "too_large",
            f"the zip unpacks to {total:,} bytes (limit {limits.max_total_bytes:,})",
        )
    if total > _RATIO_MATTERS and total > limits.max_ratio * size:
        findings.problem(
            "",
            "suspicious_ratio",
            f"the zip unpacks to {total / size:,.0f} times its size, like a zip bomb",
        )


def _ratio(info: zipfile.ZipInfo) -> float:
    if info.file_size <= _RATIO_MATTERS:
        return 1.0
    return info.file_size / max(1, info.compress_size)
