"""Images with false tags: TIFF directories, EXIF, inconsistent colours."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
from PIL import Image

from tests.hostile.case import Family
from tests.hostile.images_bombs import tiff
from tests.hostile.images_sound import encoded, marked, noise, sound
from tests.hostile.zip_bytes import png_chunk

_SHORT, _LONG, _RATIONAL = 3, 4, 5
_TURN = 0x0112


def circular_directories(rng: random.Random, n: int) -> bytes:
    """Return directories that point to themselves, to each other, or on and on."""
    if n % 4 == 0:
        return marked(rng, tiff({}, following=8))
    if n % 4 == 1:
        return marked(rng, tiff({34665: (_LONG, 1, 8), 34853: (_LONG, 1, 8)}))
    start = len(tiff({}, body=b"-")) - 1
    count, body = 20_000 if n == 2 else 300, b""
    size = 18
    for i in range(count):
        following = start + (i + 1) * size if i < count - 1 else (8 if n % 4 == 2 else 0)
        body += struct.pack("<HHHIII", 1, 256, 4, 1, 16, following)
    return marked(rng, tiff({}, body=body, following=start))


def endless_tags(rng: random.Random, n: int) -> bytes:
    """Return tags that count missing values, or 150,000 values."""
    number = rng.choice([258, 273, 279, 282, 320, 339, 700, 34675, 338, 530, 33723])
    kind = rng.choice([1, 2, 3, 4, 5, 7, 12, 13, 16, 99])
    count = rng.choice([2**16, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 150_000])
    body = bytes(8 * 150_000) if n % 4 == 0 else b""
    return marked(rng, tiff({number: (kind, count, 150 if body else 2**31)}, body=body))


def many_tags(rng: random.Random, n: int) -> bytes:
    """Return up to 60,000 tags, each of which covers the whole file."""
    count = rng.choice([200, 990, 1100, 60_000]) if n else 60_000
    tags = {40_000 + i % 25_000: (7, 3000, 8) for i in range(count)}
    return marked(rng, tiff(tags, body=bytes(4000)))


def huge_tiles(rng: random.Random, n: int) -> bytes:
    side = [30_000, 60_000, 2**31, 2**32 - 1, 2000, 16, 0][n % 7]
    packed = zlib.compress(bytes(1_000_000))
    other = rng.choice([side, 16, 1])
    tags = {322: (_LONG, 1, side), 323: (_LONG, 1, other), 324: (_LONG, 1, 170)}
    kind = rng.choice([1, 8, 5, 32773])
    return marked(rng, tiff(tags | {325: (_LONG, 1, len(packed)), 259: (_SHORT, 1, kind)}, packed))


def strip_tricks(rng: random.Random, n: int) -> bytes:
    change: dict[int, tuple[int, int, int]] = [
        {278: (_LONG, 1, 0)}, {278: (_LONG, 1, 2**32 - 1)}, {279: (_LONG, 1, 2**32 - 1)},
        {273: (_LONG, 1, 2**32 - 1)}, {279: (_LONG, 1, 0)}, {277: (_SHORT, 1, 65_535)},
        {258: (_SHORT, 1, 64)}, {284: (_SHORT, 1, 2), 277: (_SHORT, 1, 3)}, {262: (_SHORT, 1, 3)},
        {256: (_LONG, 1, 2**31), 257: (_LONG, 1, 1)}, {266: (_SHORT, 1, 2)}, {317: (_SHORT, 1, 3)},
    ][n % 12]  # fmt: skip
    return marked(rng, tiff(change))


def rare_packings(rng: random.Random, n: int) -> bytes:
    """Return compressions that no camera uses."""
    kinds = [6, 9, 10, 34661, 34676, 34677, 34712, 34887, 34925, 50000, 50001, 50002, 0, 65_535]
    return marked(rng, tiff({259: (_SHORT, 1, kinds[n % len(kinds)])}, body=rng.randbytes(900)))


def scans_in_a_tiff(rng: random.Random, n: int) -> bytes:
    """Return a JPEG with up to 5,000 scans in a TIFF."""
    jpeg = sound("jpeg progressive")
    scans = bytes.fromhex("ffda00080101003f3f1000") * rng.choice([1, 90, 5000])
    body = jpeg[:-2] + scans + jpeg[-2:]
    at = 8 + 2 + 9 * 12 + 4
    tags = {256: (_LONG, 1, 20), 259: (_SHORT, 1, 7), 262: (_SHORT, 1, 6), 277: (_SHORT, 1, 3)}
    return marked(rng, tiff(tags | {273: (_LONG, 1, at), 279: (_LONG, 1, len(body))}, body))


def _directory(*tags: tuple[int, int, int, int], following: int = 0) -> bytes:
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return head + packed + struct.pack("<I", following)


def bad_exif(rng: random.Random, n: int) -> bytes:
    values = bytes(8 * 5000)
    exif = [
        b"", b"garbage", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff",
        _directory((_TURN, _SHORT, 1, 9)), _directory((_TURN, _SHORT, 1, 0)),
        _directory((_TURN, _RATIONAL, 5000, 26)) + values, _directory((_TURN, 2, 400, 26)) + values,
        _directory((_TURN, _LONG, 2**32 - 1, 26)), _directory((0x8769, _LONG, 1, 8)),
        _directory((_TURN, _SHORT, 1, 6), following=8), _directory((0x927C, 7, 2**31, 26)),
        _directory((0x011A, _RATIONAL, 1, 26)) + values, rng.randbytes(500),
        _directory(*((_TURN, _SHORT, 1, i) for i in range(3000))),
        _directory((_TURN, 7, 30_000, 26)) + values,
    ][n % 17]  # fmt: skip
    if n // 17 % 3 == 1:
        png = sound("png 16 bits")
        return marked(rng, png[:33] + png_chunk(b"eXIf", exif) + png[33:])
    form = "WEBP" if n // 17 % 3 == 2 else "JPEG"
    return marked(rng, encoded(noise(n), form, exif=b"Exif\0\0" + exif[:60_000]))


def odd_colours(rng: random.Random, n: int) -> bytes:
    """Return images with rare or inconsistent modes and palettes."""
    grey = np.linspace(-1e30, 1e30, 320, dtype=np.float32).reshape(16, 20)
    grey[0, :5] = [np.nan, np.inf, -np.inf, 0, -0.0]
    whole = (np.arange(320, dtype=np.int32) * 7_000_000 - 2**30).reshape(16, 20)
    palette = Image.new("P", (20, 16), 255)
    palette.putpalette([1, 2, 3])
    image = noise(n)
    kinds = [
        encoded(Image.fromarray(grey), "TIFF"), encoded(Image.fromarray(whole), "TIFF"),
        encoded(palette, "PNG"), encoded(palette, "PNG", transparency=b"\0"),
        encoded(image.convert("CMYK"), "TIFF"), encoded(image.convert("CMYK"), "JPEG"),
        encoded(image.convert("LAB"), "TIFF"), encoded(image.convert("LA"), "PNG"),
        encoded(image.convert("RGBA"), "TIFF"), encoded(image.convert("1"), "PNG"),
        encoded(image.convert("YCbCr"), "JPEG"), encoded(image.convert("RGBA"), "BMP"),
        _png_of(16, 6, rng), _png_of(1, 3, rng), _png_of(2, 0, rng), _png_of(16, 3, rng),
        _png_of(3, 2, rng), _png_of(8, 5, rng), sound("png").replace(b"IHDR", b"IHDS"),
        encoded(palette, "GIF"),
    ]  # fmt: skip
    return marked(rng, kinds[n % len(kinds)])


def _png_of(depth: int, colour: int, rng: random.Random) -> bytes:
    header = struct.pack(">IIBBBBB", 9, 9, depth, colour, 0, 0, rng.randrange(3))
    body = zlib.compress(rng.randbytes(9 * (1 + 9 * 8)))
    chunks = [(b"IHDR", header), (b"PLTE", rng.randbytes(rng.choice([3, 4, 900]))), (b"IDAT", body)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*c) for c in [*chunks, (b"IEND", b"")])


FAMILIES: dict[str, Family] = {
    "circular directories": circular_directories,
    "endless tags": endless_tags,
    "many tags": many_tags,
    "huge tiles": huge_tiles,
    "strips of a TIFF": strip_tricks,
    "rare packings": rare_packings,
    "scans in a TIFF": scans_in_a_tiff,
    "bad EXIF": bad_exif,
    "odd colours": odd_colours,
}
