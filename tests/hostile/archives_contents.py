"""Valid archives with hostile contents: bombs, other files, hostile tables."""

from __future__ import annotations

import io
import random
import struct
import tarfile
from functools import lru_cache

from PIL import Image

from tests.hostile.case import Family
from tests.hostile.zip_bytes import (
    DEFLATED,
    STORED,
    End,
    Entry,
    crc_of_zeros,
    deflated,
    deflated_zeros,
    good_entries,
    good_files,
    png,
    with_entries,
    zip_bytes,
    zip_of,
)

_MIB = 1 << 20
_OTHER_FILES = [
    b"", b"\0", b"hello", b"%PDF-1.7\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    b"<!DOCTYPE html><html>", b"MZ\x90\0" + bytes(60), b"\x7fELF" + bytes(60), b"#!/bin/sh\nid\n",
    b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x02os\x94.", b"\x89HDF\r\n\x1a\n", b"RIFF\x10\0\0\0AVI ",
    b"\0\0\0\x18ftypheic" + bytes(12), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a",
    b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/x'\n", b"BM", b"II*\0",
    b"\xd7\xcd\xc6\x9a" + bytes(20),
]  # fmt: skip


def _zeros(name: bytes, size: int) -> Entry:
    """Return a member of `size` zeros, a thousand times smaller when packed."""
    return Entry(
        name, b"", DEFLATED, packed=deflated_zeros(size), size=size, crc=crc_of_zeros(size)
    )


def ratio_bomb(rng: random.Random, n: int) -> bytes:
    size = [2, 10, 30, 63, 64, 65, 100][n % 7] * _MIB + rng.randrange(2) * 7
    padding = Entry(b"dog/noise.bin", rng.randbytes([0, 300_000, 700_000][n // 7 % 3]))
    return with_entries(rng, _zeros(b"cat/bomb.bmp", size), padding)


def bomb_of_many(rng: random.Random, n: int) -> bytes:
    """Return members that are each small enough to be accepted alone."""
    size, count = (_MIB - 1, 100 + 5 * n) if n % 2 else (500_000, 50 + n)
    return with_entries(rng, *(_zeros(b"cat/%d.bmp" % i, size) for i in range(count)))


def recursive_bomb(rng: random.Random, n: int) -> bytes:
    """Return zips of zips of zeros, like 42.zip."""
    data = zip_bytes([_zeros(b"0.dll", 10 * _MIB)])
    for level in range(1 + n % 6):
        data = zip_of({f"lib {level}{i}.zip": data for i in "0123456789abcdef"})
    place = rng.choice([b"cat/42.zip", b"42.zip", b"cat/42.jpg", b"train/42.zip"])
    entry = Entry(place, data, rng.choice((STORED, DEFLATED)))
    return zip_bytes([entry]) if n % 5 == 4 else with_entries(rng, entry)


@lru_cache(maxsize=1)
def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("../../x")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    return buffer.getvalue()


def nested_archives(rng: random.Random, n: int) -> bytes:
    inner = [
        zip_of(good_files(rng)), _tar(), b"\x1f\x8b\x08\0" + bytes(20),
        b"7z\xbc\xaf\x27\x1c" + bytes(30),
        b"Rar!\x1a\x07\x01\0" + bytes(30), b"BZh91AY&SY" + bytes(20), b"\xfd7zXZ\0" + bytes(30),
        b"\x28\xb5\x2f\xfd" + bytes(20), b"MSCF" + bytes(30), b"!<arch>\n", b"PK\5\6" + bytes(18),
    ][n % 11]  # fmt: skip
    name = rng.choice([b"cat/x.png", b"cat/inner.zip", b"inner.tar.gz", b"train/set.zip"])
    return with_entries(rng, Entry(name, inner))


def other_files_as_images(rng: random.Random, n: int) -> bytes:
    suffix = rng.choice([b"png", b"jpg", b"webp", b"tiff", b"gif", b"bmp", b"eps", b"svg", b"pdf"])
    content = _OTHER_FILES[n % len(_OTHER_FILES)] + rng.randbytes(rng.choice([0, 0, 100]))
    return with_entries(rng, *(Entry(b"cat/x%d." % i + suffix, content) for i in range(3)))


def too_many_entries(rng: random.Random, n: int) -> bytes:
    if n == 0:  # enough entries that the archive is refused unread
        entry = b"PK\1\2" + bytes(42)
        size = 401_500 * len(entry)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, size, 30, 0)
        return b"PK\3\4" + bytes(26) + entry * 401_500 + end
    count = 300 + 10 * n
    return with_entries(rng, *(Entry(b"cat/e%d.png" % i, b"") for i in range(count)))


def empty_folders(rng: random.Random, n: int) -> bytes:
    count = 30_000 if n == 1 else 200 + 20 * n
    form = rng.choice([b"cat/%d/", b"%d/", b"cat/dog/%d/"])
    return with_entries(rng, *(Entry(form % i) for i in range(count)))


@lru_cache(maxsize=4)
def _blank(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def blank_pixels(rng: random.Random, n: int) -> bytes:
    """Return many images of millions of pixels in a few bytes."""
    side, count = (8000, 20) if n == 1 else (2000, 3 + n % 5)
    packed, data = deflated(_blank(side), 9), _blank(side)
    blanks = (Entry(b"cat/b%d.png" % i, data, DEFLATED, packed=packed) for i in range(count))
    return with_entries(rng, *blanks)


_TABLES: list[bytes] = [
    b'=cmd|"/C calc"!A0,cat\n', b"images/0.png,=1+1\n", b"images/0.png,+cat\n",
    b"images/0.png,@cat\n", b"images/../labels.csv,cat\n",
    b'"images/0.png,cat\n', b'images/0.png,"cat\n\n\n', b"images/0.png\n", b"images/0.png,\0\n",
    b"../../../etc/passwd,cat\n", b"/etc/passwd,cat\n", b"C:\\x,cat\n",
    b"labels.csv,cat\n", b"images/0.png,\xff\xfe\n", b"images/0.png," + b"x" * 70_000 + b"\n",
    b"images/0.png,cat" + b",x" * 40_000 + b"\n", b"\n" * 200_000, b"a\n" * 50_000, b"\r" * 5000,
    b'"a\n",' * 20_000, b"images/0.png,\xe2\x80\xaetac\n", b"images/0.png,cat\n" * 500,
    b"images/0.png,a\x1b[2Jb\n", b"images/0.png,\xf0\x9f\x98\x80\n", b"images/0.png;cat\n",
    b",,,,\n",
    b"images/0.png,None\n", b"images/0.png,1e999\n", b'""""""""""\n', b"\xef\xbb\xbf" * 9 + b"\n",
]  # fmt: skip
_HEADERS = [
    b"file,label\n", b"file,label,split\n", b"file;label\n", b"FILE\tLABEL\n", b"label,file,file\n",
    b"file,label" + b",x" * 50_000 + b"\n", b"\xef\xbb\xbffile,label\n", b"\xff\xfef\0i\0l\0e\0",
    b"", b"file,label\0\n", b"'file','label'\n", b"file,label\r\n",
]  # fmt: skip


def tables(rng: random.Random, n: int) -> bytes:
    rows = _TABLES[n % len(_TABLES)]
    header = _HEADERS[0] if n < len(_TABLES) else rng.choice(_HEADERS)
    good = b"".join(b"images/%d.png,%s\n" % (i, b"cat" if i < 2 else b"dog") for i in range(4))
    table = header + (rows + good if n % 2 else good + rows)
    images = [Entry(b"images/%d.png" % i, png(rng)) for i in range(4)]
    return zip_bytes([*images, Entry(b"labels.csv", table, DEFLATED)])


def damaged_table(rng: random.Random, n: int) -> bytes:
    """Return a valid table with a few bits flipped, or a part of it missing or repeated."""
    files = {f"{c}/{i}.png": png(rng) for c in ("cat", "dog") for i in range(4)}
    rows = (f'{name},"{name[:3]}",train\n' for name in files)
    table = bytearray(f"file,label,split\n{''.join(rows)}".encode())
    start, end = sorted(rng.sample(range(len(table)), 2))
    if n % 3 == 0:
        for _ in range(rng.randint(1, 12)):
            table[rng.randrange(len(table))] ^= 1 << rng.randrange(8)
    else:
        table[start:end] = b"" if n % 3 == 1 else table[start:end] * rng.randint(2, 5)
    return zip_of(files | {"labels.csv": bytes(table)})


def hidden_in_noise(rng: random.Random, n: int) -> bytes:
    """Return members in places that are ignored."""
    bomb = _zeros(b"__MACOSX/._bomb", 20 * _MIB)
    others = [
        Entry(b"__MACOSX/../../x"), Entry(b".git/hooks/post-checkout", b"#!/bin/sh\nid"), bomb,
        Entry(b"cat/.DS_Store", rng.randbytes(500)), Entry(b".ssh/authorized_keys", b"ssh-rsa x"),
        Entry(b"__MACOSX/link", b"/etc/passwd", mode=0o120777), Entry(b"cat/Thumbs.db", _tar()),
    ]  # fmt: skip
    return with_entries(rng, others[n % len(others)])


def odd_layouts(rng: random.Random, n: int) -> bytes:
    names = [
        ["1.png", "2.png"], ["cat/1.png"], ["train/cat/1.png"], ["test/cat/1.png", "val/cat/2.png"],
        ["train/1.png", "test/2.png"], ["0/1.png", "1/1.png"], ["_/1.png", "--/1.png"], [],
        ["train/cat/1.png", "train/dog/1.png", "test/bird/1.png"], ["labels.csv/1.png", "x/1.png"],
        ["images/1.png", "images/2.png"], ["Train/cat/1.png", "TRAIN/dog/1.png", "train/cat/2.png"],
        ["cat/" * 9 + "1.png", "dog/1.png"], ["train/train/train/1.png", "train/test/1.png"],
    ][n % 14]  # fmt: skip
    return zip_bytes(
        Entry(f"{rng.choice(['', 'top/'])}{name}".encode(), png(rng)) for name in names
    )


def no_zip_at_all(rng: random.Random, n: int) -> bytes:
    start = [b"", b"PK\3\4", b"PK\5\6", b"PK\1\2", b"PK\7\x08", b"PK00", b"\x1f\x8b", b"Rar!"][
        n % 8
    ]
    tail = [b"", b"PK\5\6" + bytes(18), b"PK\6\7" + bytes(16) + b"PK\5\6" + bytes(18)][n // 8 % 3]
    return start + rng.randbytes(rng.randrange(2000) if n >= 3 else n) + tail


def a_sound_one(rng: random.Random, n: int) -> bytes:
    """Return a valid archive: shows whether all archives are refused."""
    return zip_bytes(good_entries(rng), End(comment=b"%d" % n))


FAMILIES: dict[str, Family] = {
    "ratio bomb": ratio_bomb,
    "bomb of many": bomb_of_many,
    "recursive bomb": recursive_bomb,
    "nested archives": nested_archives,
    "other files as images": other_files_as_images,
    "many entries": too_many_entries,
    "empty folders": empty_folders,
    "blank pixels": blank_pixels,
    "tables": tables,
    "damaged table": damaged_table,
    "hidden in noise": hidden_in_noise,
    "odd layouts": odd_layouts,
    "no zip at all": no_zip_at_all,
    "nothing wrong": a_sound_one,
}
