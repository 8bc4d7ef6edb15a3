"""Images whose headers promise too many pixels, or that contain too much data."""

from __future__ import annotations

import random
import struct
import zlib
from functools import lru_cache
from typing import Any

from PIL import Image

from tests.hostile.case import Family
from tests.hostile.images_sound import encoded, marked, noise, sound
from tests.hostile.zip_bytes import png_chunk

_SIDES = [8001, 9000, 12_000, 20_000, 32_767, 60_000, 65_535]


def _png(width: int, height: int, depth: int = 8, colour: int = 2, body: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width & 2**32 - 1, height & 2**32 - 1, depth, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _bmp(width: int, height: int, bits: int = 24, packing: int = 0, body: bytes = b"") -> bytes:
    info = struct.pack(
        "<IiiHHIIiiII",
        40,
        width,
        height,
        1,
        bits,
        packing,
        len(body),
        0,
        0,
        256 if bits == 8 else 0,
        0,
    )
    colours = bytes(1024) if bits == 8 else b""
    start = 54 + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + colours + body


def _gif(width: int, height: int) -> bytes:
    screen = (
        b"GIF89a" + struct.pack("<HHBBB", width & 0xFFFF, height & 0xFFFF, 0x80, 0, 0) + bytes(6)
    )
    frame = struct.pack("<HHHHB", 0, 0, width & 0xFFFF, height & 0xFFFF, 0)
    return screen + b"," + frame + b"\x02\x02\x44\x01\0;"


def _webp(width: int, height: int) -> bytes:
    sides = b"".join((side - 1 & 0xFFFFFF).to_bytes(3, "little") for side in (width, height))
    body = b"VP8X" + struct.pack("<IB3x", 10, 0) + sides + sound("webp lossless")[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _jpeg(width: int, height: int) -> bytes:
    data = bytearray(sound("jpeg progressive"))
    at = data.index(b"\xff\xc2")
    struct.pack_into(">HH", data, at + 5, height & 0xFFFF, width & 0xFFFF)
    return bytes(data)


def _tiff(width: int, height: int) -> bytes:
    return tiff({256: (4, 1, width & 2**32 - 1), 257: (4, 1, height & 2**32 - 1)})


_HEADERS = [_png, _bmp, _gif, _webp, _jpeg, _tiff]


def tiff(tags: dict[int, tuple[int, int, int]], body: bytes = b"", following: int = 0) -> bytes:
    """Return a grey TIFF of 16 x 16 pixels with these `tags` (type, count, value) changed."""
    plain = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}
    found = {number: (3, 1, value) for number, value in plain.items()} | tags
    packed = b"".join(struct.pack("<HHII", number, *found[number]) for number in sorted(found))
    head = b"II*\0" + struct.pack("<IH", 8, len(found)) + packed
    return head + struct.pack("<I", following) + (body or bytes(400))


def pixels_promised(rng: random.Random, n: int) -> bytes:
    """Return a header with billions of pixels and no data."""
    make = _HEADERS[n % len(_HEADERS)]
    side = _SIDES[n // len(_HEADERS) % len(_SIDES)]
    return marked(rng, make(side, rng.choice([side, side - 1])))


@lru_cache(maxsize=32)
def _blank(form: str, mode: str, side: int, **options: Any) -> bytes:
    return encoded(Image.new(mode, (side, side)), form, **options)


def pixels_packed(rng: random.Random, n: int) -> bytes:
    """Return millions of pixels of one colour, about as many as the limit."""
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("PNG", "1", {}), ("PNG", "L", {}), ("GIF", "L", {}), ("JPEG", "L", {}), ("TIFF", "1", {}),
        ("WEBP", "RGB", {"lossless": True, "method": 0}), ("PNG", "I;16", {}), ("PNG", "RGBA", {}),
        ("TIFF", "L", {"compression": "tiff_lzw"}), ("JPEG", "RGB", {"progressive": True}),
    ]  # fmt: skip
    form, mode, options = kinds[n % len(kinds)]
    side = 8000 if n < len(kinds) else rng.choice([1000, 2000, 3000])
    return marked(rng, _blank(form, mode, side, **options))


def strips(rng: random.Random, n: int) -> bytes:
    long = [65_535, 16_383, 101, 100, 5000, 30_000][n // 2 % 6]
    size = (long, 1) if n % 2 else (1, long)
    form = rng.choice(["PNG", "BMP", "GIF", "TIFF", "JPEG", "WEBP"])
    return encoded(noise(n, (min(size[0], 16_383), min(size[1], 16_383))), form)


def one_pixel(rng: random.Random, n: int) -> bytes:
    form = ["PNG", "BMP", "GIF", "TIFF", "JPEG", "WEBP"][n % 6]
    return encoded(noise(n, (1, 1)), form)


def no_pixels(rng: random.Random, n: int) -> bytes:
    width, height = [(0, 0), (0, 9), (9, 0), (-1, 9), (9, -1), (-(2**31), 9), (2**31 - 1, 2)][
        n // 6 % 7
    ]
    if _HEADERS[n % 6] is _bmp:
        return marked(rng, _bmp(max(width, -(2**31)), height))
    return marked(rng, _HEADERS[n % 6](width, height))


def upside_down_bmp(rng: random.Random, n: int) -> bytes:
    height = [-16, -1, -(2**31), -(2**31) + 1, -100_000, 16][n % 6]
    return _bmp(20, height, rng.choice([24, 8, 32, 1, 16, 7]), body=rng.randbytes(60 * 16))


def packed_bmp(rng: random.Random, n: int) -> bytes:
    runs = [
        b"\1\5",
        b"\0\0",
        b"\0\2\0\0",
        b"\0\2\xff\xff",
        b"\0\xff" + bytes(256),
        b"\xff\5",
        b"\0\1",
    ]
    count = 2_000_000 if n == 1 else rng.choice([1, 20, 2000])
    side = 8000 if n == 2 else rng.choice([16, 1000, 1900])
    return _bmp(side, side, 8, 1 + n % 2, runs[n % len(runs)] * count)


def text_bombs(rng: random.Random, n: int) -> bytes:
    """Return a PNG whose text, profile or EXIF unpacks to megabytes."""
    zeros = zlib.compress(bytes(rng.choice([1 << 20, 3 << 20])), 9)
    chunk = [
        png_chunk(b"zTXt", b"key\0\0" + zeros), png_chunk(b"iTXt", b"key\0\1\0\0\0" + zeros),
        png_chunk(b"iCCP", b"icc\0\0" + zeros), png_chunk(b"tEXt", b"key\0" + bytes(900_000)),
        png_chunk(b"eXIf", b"II*\0" + bytes(1_500_000)), png_chunk(b"zTXt", b"k\0\0" + zeros) * 70,
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<x>" * 90_000),
    ][n % 7]  # fmt: skip
    png = sound("png palette")
    return marked(rng, png[:33] + chunk + png[33:])


def too_many_blocks(rng: random.Random, n: int) -> bytes:
    """Return up to 300,000 empty chunks, segments, extensions or scans."""
    count = 300_000 if n < 9 else rng.choice([100, 5000])
    png, jpeg, gif = sound("png palette"), sound("jpeg progressive"), sound("gif")
    frame = gif.index(b"!\xf9")
    scan = bytes.fromhex("ffda00080101003f3f1000")
    exif = b"\xff\xe1\0\x09Exif\0\0a"
    return marked(rng, [
        png[:33] + png_chunk(b"aaAa", b"") * count + png[33:],
        png[:-12] + png_chunk(b"tEXt", b"a\0b") * count + png[-12:],
        jpeg[:20] + b"\xff\xfe\0\2" * count + jpeg[20:],
        jpeg[:20] + b"\xff" * 2 * count + jpeg[20:],
        jpeg[:20] + exif * (count // 10) + jpeg[20:],
        jpeg[:-2] + scan * (count // 10) + jpeg[-2:],
        gif[:frame] + b"!\xfe" + b"\1a" * count + b"\0" + gif[frame:],
        gif[:frame] + b"!\xf9\0" + b"\1a" * count + b"\0" + gif[frame:],
        gif[:frame] + b"\0" * count + gif[frame:],
    ][n % 9])  # fmt: skip


def very_many_frames(rng: random.Random, n: int) -> bytes:
    """Return up to 20,000 frames; only the first one is read."""
    count = 20_000 if n < 3 else rng.choice([2, 300])
    if n % 3 == 0:
        gif = sound("gif")
        start = gif.index(b"!\xf9")
        following = gif.index(b"!\xf9", start + 1)
        return marked(rng, gif[:following] + gif[start:following] * count + b";")
    if n % 3 == 1:
        webp = sound("webp frames")
        start = webp.index(b"ANMF")
        size = 8 + struct.unpack("<I", webp[start + 4 : start + 8])[0]
        body = webp[8:start] + webp[start : start + size + size % 2] * count
        return marked(rng, b"RIFF" + struct.pack("<I", len(body)) + body)
    png = sound("apng")
    control = png.index(b"fcTL") - 4
    return marked(rng, png[:control] + png[control : control + 38] * count + png[control:])


FAMILIES: dict[str, Family] = {
    "pixels promised": pixels_promised,
    "pixels packed": pixels_packed,
    "strips": strips,
    "one pixel": one_pixel,
    "no pixels": no_pixels,
    "BMP upside down": upside_down_bmp,
    "BMP in runs": packed_bmp,
    "text and profile bombs": text_bombs,
    "too many blocks": too_many_blocks,
    "very many frames": very_many_frames,
}
