"""Write zips byte by byte, with any field set to a false value."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

UTF8 = 0x800
STORED, DEFLATED = 0, 8


@dataclass
class Entry:
    """A member; fields that are None get the correct value."""

    name: bytes
    data: bytes = b""
    method: int = STORED
    packed: bytes | None = None
    flags: int = UTF8
    system: int = 3
    mode: int = 0
    """Unix file type and permissions."""
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    extra: bytes = b""
    comment: bytes = b""
    offset: int | None = None
    descriptor: bytes = b""
    local: dict[str, Any] = field(default_factory=dict)
    """Other values in the local header: crc, size, packed_size, method, flags, name, extra."""


@dataclass
class End:
    """The end record; fields that are None get the correct value."""

    entries: int | None = None
    directory_size: int | None = None
    directory_offset: int | None = None
    disk: int = 0
    comment: bytes = b""
    comment_size: int | None = None
    zip64: bytes = b""
    """Inserted between directory and end record."""


def zip_bytes(entries: Iterable[Entry], end: End | None = None, before: bytes = b"") -> bytes:
    """Return a zip of these members behind the bytes `before`; offsets include them."""
    end = end or End()
    body, directory, count = bytearray(before), bytearray(), 0
    for entry in entries:
        offset = len(body) if entry.offset is None else entry.offset
        body += _local(entry)
        directory += _central(entry, offset)
        count += 1
    said = count if end.entries is None else end.entries
    size = len(directory) if end.directory_size is None else end.directory_size
    start = len(body) if end.directory_offset is None else end.directory_offset
    comment_size = len(end.comment) if end.comment_size is None else end.comment_size
    last = struct.pack(
        "<4s4H2LH",
        b"PK\5\6",
        *(end.disk, end.disk, said & 0xFFFF, said & 0xFFFF),
        *(size & 0xFFFFFFFF, start & 0xFFFFFFFF, comment_size & 0xFFFF),
    )
    return bytes(body + directory) + end.zip64 + last + end.comment


def zip_of(files: dict[str, bytes], method: int = DEFLATED) -> bytes:
    """Return a valid zip."""
    return zip_bytes(Entry(name.encode(), data, method) for name, data in files.items())


def deflated(data: bytes, level: int = 6) -> bytes:
    """Return raw deflate data, as in a zip member."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@lru_cache(maxsize=32)
def deflated_zeros(size: int, level: int = 1) -> bytes:
    """Return `size` zeros, packed."""
    return deflated(bytes(size), level)


@lru_cache(maxsize=32)
def crc_of_zeros(size: int) -> int:
    return zlib.crc32(bytes(size))


def png(rng: random.Random, width: int = 8, height: int = 8) -> bytes:
    """Return a small image of random pixels."""
    rows = b"".join(b"\0" + rng.randbytes(3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, data) for name, data in chunks)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def good_files(rng: random.Random) -> dict[str, bytes]:
    """Return two classes of two images each, with random pixels."""
    return {f"{name}/{i}.png": png(rng) for name in ("cat", "dog") for i in range(2)}


def good_entries(rng: random.Random) -> list[Entry]:
    """Return `good_files` as members, all packed or all stored."""
    method = rng.choice((STORED, DEFLATED))
    return [Entry(name.encode(), data, method) for name, data in good_files(rng).items()]


def with_entries(rng: random.Random, *entries: Entry, end: End | None = None) -> bytes:
    """Return a zip of `good_entries` with these entries inserted at random."""
    found = good_entries(rng)
    for entry in entries:
        found.insert(rng.randint(1, len(found)), entry)
    return zip_bytes(found, end)


def _packed(entry: Entry) -> bytes:
    if entry.packed is not None:
        return entry.packed
    return deflated(entry.data) if entry.method == DEFLATED else entry.data


def _sizes(entry: Entry, packed: bytes) -> dict[str, Any]:
    """Return checksum and sizes, as given or correct."""
    correct = {"crc": zlib.crc32(entry.data), "packed_size": len(packed), "size": len(entry.data)}
    given = {name: getattr(entry, name) for name in correct}
    return {name: correct[name] if value is None else value for name, value in given.items()}


def _local(entry: Entry) -> bytes:
    packed = _packed(entry)
    found: dict[str, Any] = {
        "name": entry.name,
        "extra": b"",
        "method": entry.method,
        "flags": entry.flags,
    }
    found |= _sizes(entry, packed) | entry.local
    name, extra = found["name"], found["extra"]
    sizes = (found[key] & 0xFFFFFFFF for key in ("crc", "packed_size", "size"))
    fields = (found["flags"], found["method"], 0, 33, *sizes, len(name), len(extra))
    head = struct.pack("<4sHHHHHLLLHH", b"PK\3\4", 20, *fields)
    return b"".join((head, name, extra, packed, entry.descriptor))


def _central(entry: Entry, offset: int) -> bytes:
    sizes = (value & 0xFFFFFFFF for value in _sizes(entry, _packed(entry)).values())
    lengths = (len(entry.name), len(entry.extra), len(entry.comment))
    head = struct.pack(
        "<4sBBHHHHHLLLHHHHHLL",
        *(b"PK\1\2", 20, entry.system, 20, entry.flags, entry.method, 0, 33, *sizes, *lengths),
        *(0, 0, (entry.mode << 16) & 0xFFFFFFFF, offset & 0xFFFFFFFF),
    )
    return head + entry.name + entry.extra + entry.comment
