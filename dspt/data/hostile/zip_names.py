"""Decode the names in an untrusted zip, which do not always say in which code page they are."""

from __future__ import annotations

import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Sequence

from dspt.data.findings import Findings
from dspt.data.hostile.code_pages import CODE_PAGES, OTHER_CODE_PAGES, decodes, detect_code_pages
from dspt.kit.text import printable

ROOT = "./"
"""Name of the folder that contains all others, which some programs add to a zip."""
_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075
_FAT = 0
"""System of zips written by Windows, where a backslash cannot be part of a name."""
_MAX_SAMPLE = 2000
"""Parts of names from which the code page is detected."""


def member_names(infos: Sequence[zipfile.ZipInfo], findings: Findings) -> list[str]:
    """Return the name of each member in NFC, with `/` between folders and after a folder's name.

    A name is UTF-8 if the zip says so, by the flag or the field 0x7075 (Info-ZIP Unicode Path), or
    if all other names are valid UTF-8. Otherwise the code page is detected over all names
    together, with a warning. Backslashes become `/` in zips from Windows and in zips without any
    `/`; empty parts and `.` are removed. `..` and absolute names are kept, to be refused.
    """
    names: list[str | None] = [_stated_name(info) for info in infos]
    unclear = {i: _raw(info) for i, info in enumerate(infos) if names[i] is None}
    code_page = _code_page_of(set(unclear.values()), findings)
    decoded = [
        unclear[i].decode(code_page) if name is None else name for i, name in enumerate(names)
    ]
    no_slash = not any("/" in name for name in decoded)
    return [
        _normalised(name, backslash=no_slash or info.create_system == _FAT)
        for name, info in zip(decoded, infos, strict=True)
    ]


def _stated_name(info: zipfile.ZipInfo) -> str | None:
    """The name if the zip says how it is encoded, or if it is ASCII; else None."""
    # `filename` is cut at a NUL and, on Windows, its backslashes are replaced: use the original.
    if info.flag_bits & _UTF8_FLAG or info.orig_filename.isascii():
        return info.orig_filename
    return _unicode_path(info)


def _raw(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("cp437")  # zipfile decodes names without the flag so


def _unicode_path(info: zipfile.ZipInfo) -> str | None:
    """The name in the field 0x7075, if its checksum is that of the name in the header."""
    extra = info.extra
    while len(extra) >= 4:
        kind = int.from_bytes(extra[:2], "little")
        size = int.from_bytes(extra[2:4], "little")
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind != _UNICODE_PATH or len(field) != size or field[:1] != b"\x01":
            continue
        if int.from_bytes(field[1:5], "little") == zlib.crc32(_raw(info)):
            try:
                return field[5:].decode()
            except UnicodeDecodeError:
                return None
    return None


def _code_page_of(raw: Iterable[bytes], findings: Findings) -> str:
    """Return the encoding of names, with a warning unless it is UTF-8 (macOS sets no flag)."""
    names = set(raw)
    if all(decodes(name, "utf-8") for name in names):
        return "utf-8"
    parts = sorted({part for name in names for part in name.split(b"/") if not part.isascii()})
    sample = [re.sub(rb"\.[A-Za-z0-9]{1,5}$", b"", part) for part in parts[:_MAX_SAMPLE]]
    ranked = [page for page in detect_code_pages(sample) if all(decodes(n, page) for n in names)]
    page = ranked[0] if ranked else "cp437"
    example = printable(sample[0].decode(page, "replace"))
    language = (CODE_PAGES | OTHER_CODE_PAGES)[page]
    findings.warning(
        "code_page",
        f"the zip does not say how its names are encoded; they are read as {page} ({language}), "
        f"for example {example!r}; if this is wrong, create the zip with UTF-8 names",
    )
    return page


def _normalised(name: str, *, backslash: bool) -> str:
    name = unicodedata.normalize("NFC", name)
    if backslash:
        name = name.replace("\\", "/")
    root = "/" if name.startswith("/") else ""
    folder = "/" if name.endswith("/") else ""
    if name in (".", "./"):
        return ROOT
    if "://" in name:
        return name  # a URL is no path, and is refused for its empty part
    parts = "/".join(part for part in name.split("/") if part not in ("", "."))
    return root + parts + folder if parts else ""
