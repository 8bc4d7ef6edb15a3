"""Images that are damaged, that are other files, or that are two files at once."""

from __future__ import annotations

import random
import struct

from tests.hostile.case import Family, of
from tests.hostile.images_sound import marked, of_turn, sound
from tests.hostile.zip_bytes import good_files, png_chunk, zip_of

_OTHERS = [
    b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg>&a;</svg>",
    b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xc5\xd0\xd3\xc6" + bytes(26) + b"%!PS",
    b"%!PS\n(%pipe%id) (r) file\n", b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x18\0\0\1\0\0\x16\0\0\0",
    b"icns\0\0\0\x20ic07", b"8BPS\0\1" + bytes(20), b"P6\n9 9\n255\n" + bytes(243),
    b"P4\n99999 99999\n", b"#define x_width 9\n", b"\xd7\xcd\xc6\x9a" + bytes(40),
    b"\1\0\0\0\x6c\0\0\0" + bytes(32) + b" EMF", b"SIMPLE  =", b"\x89HDF\r\n\x1a\n",
    b"GRIB\0\0\0\1", b"BUFR\0\0\0\1", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51",
    b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", b"\0\0\0\x18ftypheic", b"DDS |\0\0\0",
    b"\x0a\5\1\x08" + bytes(60), b"\x53\x80\xf6\x34", b"qoif\0\0\0\x09\0\0\0\x09\3\0", b"MThd",
    b"RIFF\x24\0\0\0ACONanih", b"\x1bE\x1b%-12345X", b"GIMP gradient\n", b"AT&TFORM", b"FWS\x09",
    b"BLP2\1\0\0\0", b"\xab\x4b\x54\x58\x20\x31\x31\xbb",
    b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1'\n", b"MM\0\x2b",
    b"II\x2b\0" + bytes(12),
]  # fmt: skip
_TAILS = [
    b"<script>alert(1)</script>", b"<?php system($_GET[0]); ?>", b"%PDF-1.7\n%%EOF",
    b"\n#!/bin/sh\nid\n", b"*/alert(1)/*", b"\x7fELF", b"MZ",
]  # fmt: skip
_EXTREMES = [b"\xff" * 4, b"\0" * 4, b"\x7f" + b"\xff" * 3, b"\xff" * 3 + b"\x7f", b"\x80\0\0\0"]


def _bits_flipped(rng: random.Random, n: int) -> bytes:
    data = bytearray(of_turn(n))
    for _ in range(rng.randint(1, 12)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _header_overwritten(rng: random.Random, n: int) -> bytes:
    data = bytearray(of_turn(n))
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(min(len(data), 80))] = rng.randrange(256)
    return bytes(data)


def _extreme_numbers(rng: random.Random, n: int) -> bytes:
    data = of_turn(n)
    at = rng.randrange(2, len(data) - 4)
    return data[:at] + rng.choice(_EXTREMES) + data[at + 4 :]


def _parts_repeated(rng: random.Random, n: int) -> bytes:
    data = of_turn(n)
    start, end = sorted(rng.sample(range(len(data)), 2))
    if n % 2:
        return data[:start] + data[end:]
    return data[:end] + data[start:end] * rng.randint(1, 5) + data[end:]


def _two_spliced(rng: random.Random, n: int) -> bytes:
    """Return the start of one format and the end of another."""
    one, other = of_turn(n), of_turn(rng.randrange(1000))
    return one[: rng.randrange(4, len(one))] + other[rng.randrange(len(other)) :]


def _polyglot(rng: random.Random, n: int) -> bytes:
    """Return a valid image that is also a valid file of another type."""
    image = of_turn(n)
    if n % 3 == 0:
        return image + zip_of(good_files(rng))
    tail = rng.choice(_TAILS)
    if n % 3 == 1:
        return marked(rng, image + tail)
    text = tail + rng.randbytes(3)
    form = n // 3 % 3
    if form == 0:
        jpeg = sound("jpeg")
        return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(text)) + text + jpeg[2:]
    if form == 1:
        png = sound("png")
        return png[:33] + png_chunk(b"tEXt", b"Comment\0" + text) + png[33:]
    return b"GIF89a" + b"/*" + text + b"*/=1;" + bytes(20)


FAMILIES: dict[str, Family] = {
    "truncated": lambda rng, n: of_turn(n)[: rng.randrange(1, len(of_turn(n)))],
    "truncated in the header": lambda rng, n: (
        of_turn(n)[: rng.randrange(1, 60)] + rng.randbytes(rng.choice([0, 1, 30]))
    ),
    "bits flipped": _bits_flipped,
    "header overwritten": _header_overwritten,
    "extreme numbers": _extreme_numbers,
    "parts repeated or gone": _parts_repeated,
    "two spliced": _two_spliced,
    # Drawings, documents and images whose decoders must not be reached, whatever their names.
    "something else": lambda rng, n: of(_OTHERS, n) + rng.randbytes(rng.choice([0, 4, 400])),
    "magic and noise": lambda rng, n: (
        of_turn(n)[: rng.choice([2, 3, 4, 8, 12, 16])] + rng.randbytes(rng.randrange(2, 3000))
    ),
    "polyglot": _polyglot,
    # Valid images; only the suffix of the file names another format.
    "another name": lambda rng, n: marked(rng, of_turn(n)),
}
