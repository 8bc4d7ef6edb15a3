"""Scale 16-bit samples to 8 bits by the bits that they use; cameras often use 10, 12 or 14."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dspt.data.formats import open_image

_ROWS = 64  # of a deep colour image that are scaled at once
_COLOUR_CHANNELS = {"RGB": 3, "RGBA": 3}
_OTHER_ORDER = str.maketrans({"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"})
_MAX_CHUNKS = 32
"""Chunks of a PNG that are searched for sBIT."""


def bits_of(samples: NDArray[np.uint16], data: bytes = b"") -> int:
    """Return the bits per sample to scale from: what a PNG states in sBIT, or 8, 10, 12, 14 or 16.

    data: the file. By the PNG standard, the stated bits are the upper ones; but programs that
    store 12 bits in the lower ones write the same. So the stated number is used if the samples are
    small enough and their lower bits are not all 0. Without it, the largest sample decides.
    """
    largest = int(samples.max(initial=0))
    stated = stated_bits(data)
    if stated is None:
        return max(8, (largest.bit_length() + 1) // 2 * 2)
    in_lower_bits = largest >> stated == 0 and bool((samples & (0xFFFF >> stated)).any())
    return stated if in_lower_bits else 16


def stated_bits(data: bytes) -> int | None:
    """Return the bits per colour sample that a 16-bit PNG states in sBIT, or None."""
    if not data.startswith(b"\x89PNG") or data[24:25] != b"\x10":
        return None
    at = 8
    for _ in range(_MAX_CHUNKS):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind in (b"", b"IDAT"):
            return None
        if kind == b"sBIT":
            grey = data[25:26] in (b"\0", b"\x04")
            bits = max(data[at + 8 : at + (9 if grey else 11)], default=0)
            return bits if 8 <= bits <= 16 else None
        at += size + 12
    return None


def to_8_bits(samples: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    """Scale samples of so many bits to 0..255; larger samples become 255."""
    full = 2**bits - 1
    table = np.minimum((np.arange(2**16, dtype=np.uint32) * 255 + full // 2) // full, 255)
    found: NDArray[np.uint8] = table.astype(np.uint8)[samples]
    return found


def deep_colours(image: Image.Image, data: bytes) -> tuple[Image.Image, int] | None:
    """Return a colour image scaled by the bits that it uses, and these; None if it uses all 16.

    image: the file `data`, loaded. Pillow keeps the upper 8 of 16 bits. If nothing is in the upper
    two, the file is decoded once more in the other byte order, for the lower 8 bits.
    """
    channels = _COLOUR_CHANNELS.get(image.mode)
    if image.format not in ("PNG", "TIFF") or channels is None or "transparency" in image.info:
        return None
    upper = np.asarray(image)
    if upper[..., :channels].max(initial=0) >= 64 or (lower := _lower_bytes(data)) is None:
        return None
    parts = [slice(start, start + _ROWS) for start in range(0, len(upper), _ROWS)]

    def samples(rows: slice) -> NDArray[np.uint16]:
        return (upper[rows].astype(np.uint16) << 8 | lower[rows]).astype(np.uint16)

    bits = max(bits_of(samples(rows)[..., :channels], data) for rows in parts)
    if bits == 16:
        return None
    scaled = np.empty_like(upper)
    for rows in parts:
        scaled[rows] = to_8_bits(samples(rows), bits)
    return Image.fromarray(scaled), bits


def _lower_bytes(data: bytes) -> NDArray[np.uint8] | None:
    """Return the lower bytes of the samples of a 16-bit colour image; None if it is not one."""
    with open_image(data) as image:
        tiles = []
        for tile in image.tile:  # type: ignore[attr-defined]
            mode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
            if not (isinstance(mode, str) and mode[:-1] in ("RGB;16", "RGBA;16")):
                return None
            mode = mode[:-1] + mode[-1].translate(_OTHER_ORDER)
            tiles.append(tile._replace(args=(mode, *rest) if rest else mode))
        image.tile = tiles  # type: ignore[attr-defined]
        image.load()
        return np.asarray(image)
