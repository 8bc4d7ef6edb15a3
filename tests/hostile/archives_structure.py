"""Archives with contradictory or missing bytes."""

from __future__ import annotations

import random
import stat
import struct
from typing import Any

from tests.hostile.case import Family, of
from tests.hostile.zip_bytes import (
    DEFLATED,
    STORED,
    UTF8,
    End,
    Entry,
    deflated,
    deflated_zeros,
    good_entries,
    png,
    with_entries,
    zip_bytes,
)

_MODES = [
    stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK,
    stat.S_IFDIR | 0o755, 0o170000, stat.S_IFLNK,
]  # fmt: skip
_TARGETS = [
    b"/etc/passwd", b"../../../../etc/shadow", b"/dev/zero", b".", b"cat", b"\0", b"x" * 5000
]  # fmt: skip
_METHODS = [1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 14, 18, 19, 20, 93, 94, 95, 96, 97, 98, 99, 255, 0xFFFF]
_EXTREMES = [0, 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]


_LOCAL: list[dict[str, Any]] = [
    {"name": b"cat/y.png"}, {"name": b"../../x.png"}, {"name": b""}, {"crc": 0},
    {"name": b"cat/x.png" * 99}, {"size": 2**32 - 1}, {"packed_size": 0}, {"method": 12},
    {"flags": UTF8 | 1}, {"extra": bytes(65_000)}, {"extra": b"\x01\0\xff\xff"},
    {"size": 0, "packed_size": 0},
]  # fmt: skip


def _links(rng: random.Random, n: int) -> bytes:
    target, system = rng.choice(_TARGETS), of((3, 3, 19, 0), n // len(_MODES))
    return with_entries(rng, Entry(b"cat/link.png", target, mode=of(_MODES, n), system=system))


def _encrypted(rng: random.Random, n: int) -> bytes:
    flags = UTF8 | of([0x1, 0x41, 0x40, 0x2001, 0x2000, 0x9], n)
    data = rng.randbytes(12) + png(rng)
    local: dict[str, Any] = {"flags": UTF8} if n // 6 % 2 else {}
    method = 99 if n % 5 == 4 else DEFLATED
    entry = Entry(b"cat/x.png", data, method, flags=flags, local=local, packed=data)
    return with_entries(rng, entry)


def _unknown_methods(rng: random.Random, n: int) -> bytes:
    data = png(rng)
    local: dict[str, Any] = {"method": STORED} if rng.random() < 0.3 else {}
    return with_entries(rng, Entry(b"cat/x.png", data, of(_METHODS, n), packed=data, local=local))


def _bad_checksums(rng: random.Random, n: int) -> bytes:
    crc = [0, 2**32 - 1, rng.getrandbits(32)][n % 3]
    return with_entries(rng, Entry(b"cat/x.png", png(rng), rng.choice((STORED, DEFLATED)), crc=crc))


def _data_descriptors(rng: random.Random, n: int) -> bytes:
    data = png(rng)
    right = struct.pack("<4sLLL", b"PK\7\x08", 0, len(data), len(data))
    descriptor = [right, right[4:], b"", rng.randbytes(16), right * 3, b"PK\1\2" + bytes(12)][n % 6]
    zeros: dict[str, Any] = {"crc": 0, "size": 0, "packed_size": 0}
    return with_entries(
        rng, Entry(b"cat/x.png", data, flags=UTF8 | 8, descriptor=descriptor, local=zeros)
    )


def _extra_fields(rng: random.Random, n: int) -> bytes:
    unicode_path = struct.pack("<HHBL", 0x7075, 5 + 9, 1, 0) + b"../x.png\0"
    extra = [
        unicode_path, b"\x01", b"\x01\0", b"\xff\xff\xff\xff", bytes(65_000), rng.randbytes(200),
        struct.pack("<HH", 0x9901, 7) + b"\2\0AE\3\x08\0", struct.pack("<HH", 0x5455, 999),
    ][n % 8]  # fmt: skip
    return with_entries(rng, Entry(b"cat/x.png", png(rng), extra=extra))


def _data_behind(rng: random.Random, n: int) -> bytes:
    behind = [
        png(rng), b"<script>alert(1)</script>", rng.randbytes(2000), bytes(100_000), b"PK\5\6",
        zip_bytes(good_entries(rng)), b"%%EOF", b"PK\3\4" + bytes(30),
    ][n % 8]  # fmt: skip
    return zip_bytes(good_entries(rng)) + behind


def _sizes(rng: random.Random, n: int) -> bytes:
    data = png(rng) if n % 2 else bytes(100_000)
    wrong: dict[str, Any] = {}
    for which in rng.sample(["size", "packed_size"], 1 + n % 2):
        wrong[which] = rng.choice([*_EXTREMES, len(data) - 1, len(data) + 1, 10])
    method = rng.choice((STORED, DEFLATED))
    both = {"local": dict(wrong)} if n % 3 == 0 else {"local": {"size": len(data)}}
    return with_entries(rng, Entry(b"cat/x.png", data, method, **wrong, **both))


def _zip64(size: int, packed: int, offset: int | None = None) -> bytes:
    values = [size, packed] if offset is None else [size, packed, offset]
    return struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values)


def _zip64_oddities(rng: random.Random, n: int) -> bytes:
    data, big = png(rng), 2**32 - 1
    size = len(data)
    extras = [
        _zip64(size, size), _zip64(2**63, 2**63), _zip64(2**64 - 1, size), _zip64(0, 0), b"",
        _zip64(size, size, 2**62), b"\x01\0\x04\0abcd", b"\x01\0\xff\xff", b"\x01\0\0\0",
        _zip64(size, size) * 3, struct.pack("<HHQ", 1, 8, size), _zip64(2**40, 5),
    ]  # fmt: skip
    said = Entry(b"cat/x.png", data, extra=extras[n % len(extras)], size=big, packed_size=big)
    if n // len(extras) % 2 == 0:
        return with_entries(rng, said)
    locator = struct.pack("<4sLQL", b"PK\6\7", n % 3, rng.choice([0, 2**63, 50]), 1 + n % 4)
    counts = (rng.choice([0, 5, 2**32, 2**63]), rng.choice([5, 2**64 - 1]))
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *counts, rng.choice([0, 300, 2**63]), 0
    )
    zip64 = locator if n % 2 else record + locator
    entries = rng.choice([None, 0xFFFF])
    return zip_bytes(good_entries(rng), End(zip64=zip64, entries=entries))


def _overlapping_kernel(rng: random.Random, n: int) -> bytes:
    """Return a zip in which every directory entry points to one kernel."""
    kernel = Entry(b"cat/0.png", b"", DEFLATED, packed=deflated_zeros(3_000_000), size=3_000_000)
    more = (
        Entry(b"cat/%d.png" % i, b"", DEFLATED, size=3_000_000, offset=0, local=kernel.local)
        for i in range(1, 20 + n)
    )
    entries = [kernel, *more]
    for entry in entries[1:]:
        entry.packed, entry.packed_size = b"", len(kernel.packed or b"")
    return zip_bytes(entries)


def _overlapping_quoted(rng: random.Random, n: int) -> bytes:
    """Return the bomb of David Fifield (A better zip bomb, 2019).

    Each member quotes the local headers of those behind it, so that all unpack one kernel.
    """
    kernel_size = 200_000
    kernel = deflated_zeros(kernel_size, 9)
    count = 20 + n
    names = [b"cat/%d.png" % i for i in range(count)]
    packed, size = kernel, kernel_size
    bodies: list[tuple[bytes, int]] = [(kernel, kernel_size)]
    headers: list[bytes] = []
    for name in reversed(names):
        header = struct.pack(
            "<4sHHHHHLLLHH", b"PK\3\4", 20, 0, DEFLATED, 0, 33, 0, len(packed), size, len(name), 0
        )
        headers.append(header + name)
        quote = b"\0" + struct.pack("<HH", len(headers[-1]), len(headers[-1]) ^ 0xFFFF)
        packed, size = quote + headers[-1] + packed, size + len(headers[-1])
        bodies.append((packed, size))
    data, directory, offsets = bytearray(), bytearray(), []
    for i, header in enumerate(reversed(headers)):
        offsets.append(len(data))
        data += header
        if i < count - 1:
            following = headers[count - 2 - i]
            data += b"\0" + struct.pack("<HH", len(following), len(following) ^ 0xFFFF)
    data += kernel
    for i, name in enumerate(names):
        packed, size = bodies[count - 1 - i]
        directory += struct.pack(
            "<4sBBHHHHHLLLHHHHHLL",
            *(b"PK\1\2", 20, 3, 20, 0, DEFLATED, 0, 33, 0, len(packed), size, len(name)),
            *(0, 0, 0, 0, 0, offsets[i]),
        ) + name  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(data), 0)
    return bytes(data + directory + end)


def _comments(rng: random.Random, n: int) -> bytes:
    false_end = b"PK\5\6" + bytes(18)
    comment = [
        b"x" * 65_535, false_end, b"PK\5\6", b"<script>alert(1)</script>", b"\0" * 1000,
        false_end * 50, b"PK\1\2" * 100, rng.randbytes(3000),
    ][n % 8]  # fmt: skip
    said = [None, 0, 1, 65_535][n // 8 % 4]
    return zip_bytes(good_entries(rng), End(comment=comment, comment_size=said))


def _end_records(rng: random.Random, n: int) -> bytes:
    field = of(("disk", "entries", "directory_size", "directory_offset"), n)
    value = rng.choice([1, 3, 2**16 - 1] if field == "disk" else _EXTREMES)
    end = End()
    setattr(end, field, value)
    return zip_bytes(good_entries(rng), end)


def _broken_streams(rng: random.Random, n: int) -> bytes:
    data = png(rng)
    whole = deflated(data)
    packed = [
        whole[: len(whole) // 2], b"", rng.randbytes(300), b"\0\0\0\xff\xff" * 20_000 + whole,
        whole + rng.randbytes(1000), b"\x06" + rng.randbytes(50), b"\xff" * 500,
        bytes([rng.randrange(256)]) + whole[1:], b"\0\0\0\xff\xff" * 200_000,
    ][n % 9]  # fmt: skip
    return with_entries(rng, Entry(b"cat/x.png", data, DEFLATED, packed=packed))


def _data_in_front(rng: random.Random, n: int) -> bytes:
    """Return a zip that starts as a file of another type."""
    front = [
        png(rng), b"\xff\xd8\xff\xe0" + bytes(200), b"GIF89a" + bytes(50), b"%PDF-1.7\n%\xe2\xe3\n",
        b"<!DOCTYPE html><script>alert(1)</script>", b"MZ" + bytes(100), b"#!/bin/sh\nid\n",
        b"\x7fELF" + bytes(60), b"PK\3\4" + bytes(40), b"PK00PK\3\4", b"Rar!\x1a\7\0", b"\0" * 3000,
    ][n % 12]  # fmt: skip
    entries = good_entries(rng)
    return zip_bytes(entries, before=front) if n // 12 % 2 else front + zip_bytes(entries)


def _data_between(rng: random.Random, n: int) -> bytes:
    """Return a zip with bytes between its members, such as a member without directory entry."""
    hidden = zip_bytes([Entry(b"../../evil.sh", b"id")])[: 30 + 13 + 2]
    gap = [hidden, rng.randbytes(500), b"PK\1\2" * 20, b"<html>"][n % 4]
    first, *others = good_entries(rng)
    first.descriptor = gap
    return zip_bytes([first, *others])


def _truncated(rng: random.Random, n: int) -> bytes:
    data = zip_bytes(good_entries(rng))
    start, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    regions = [(0, 30), (30, 60), (60, start), (start - 20, start), (start, start + 46),
               (start, end), (end, end + 4), (end, len(data)), (0, len(data))]  # fmt: skip
    low, high = regions[n % len(regions)]
    return data[: rng.randrange(low, high)]


def _parts_moved(rng: random.Random, n: int) -> bytes:
    data = zip_bytes(good_entries(rng))
    one, other = sorted(rng.sample(range(len(data)), 2))
    kept = [data[:one] + data[other:], data[:other] + data[one:], data[other:] + data[:other]]
    return kept[n % 3]


def _flipped(rng: random.Random, marker: bytes, count: int) -> bytes:
    """Return a zip with `count` bits flipped behind the first `marker`."""
    data = bytearray(zip_bytes(good_entries(rng)))
    start = data.index(marker)
    for _ in range(count):
        data[rng.randrange(start, len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


FAMILIES: dict[str, Family] = {
    "links and devices": _links,
    "encrypted": _encrypted,
    "unknown methods": _unknown_methods,
    "sizes that lie": _sizes,
    "local headers that lie": lambda rng, n: with_entries(
        rng, Entry(b"cat/x.png", png(rng), local=of(_LOCAL, n))
    ),
    "zip64 oddities": _zip64_oddities,
    "overlapping, one kernel": _overlapping_kernel,
    "overlapping, quoted": _overlapping_quoted,
    "bad checksums": _bad_checksums,
    "data descriptors": _data_descriptors,
    "comments": _comments,
    "end records that lie": _end_records,
    "extra fields": _extra_fields,
    "broken streams": _broken_streams,
    "polyglot, in front": _data_in_front,
    "polyglot, behind": _data_behind,
    "hidden between members": _data_between,
    "truncated": _truncated,
    "bits flipped": lambda rng, n: _flipped(rng, b"", 1 + n % 20),
    "bits flipped, directory": lambda rng, n: _flipped(rng, b"PK\1\2", 1 + n % 8),
    "bits flipped, end": lambda rng, n: _flipped(rng, b"PK\5\6", 1 + n % 4),
    "parts moved": _parts_moved,
}
