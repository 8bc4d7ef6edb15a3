"""Check the directory of a TIFF before Pillow and libtiff read it.

Each tag declares the number and position of its values in a few bytes. Both libraries trust it, so
a tiny file can make them allocate gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dspt.errors import ImageError

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
"""All signatures that Pillow accepts, also with the wrong byte order or 64-bit offsets."""
MAX_TAGS = 1000
"""Tags in one directory; a photograph has fewer than a hundred."""
MAX_VALUES = 100_000
"""Numbers in one tag; Pillow creates an object for each. One strip per pixel row gives 64,000."""
MAX_TILE_PIXELS = 4_000_000
"""Pixels of a tile that is larger than its image; libtiff unpacks all of it."""

COMPRESSIONS = {
    1: "none",
    2: "CCITT runs",
    3: "fax group 3",
    4: "fax group 4",
    5: "LZW",
    7: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
}
"""Written by cameras, scanners and editors. Rare decoders are not exposed to untrusted files."""

_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 322, 323
_POINTERS = frozenset([34665, 34853, 40965])
"""Tags that point to the directories of EXIF, GPS and interoperability; Pillow reads these too."""
_ONE_NUMBER = frozenset([_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT, *_POINTERS])
_SHORT, _LONG, _DIRECTORY = 3, 4, 13
_TEXT_OR_BYTES = (1, 2, 6, 7)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_LARGEST = 8


@dataclass(frozen=True)
class _Tag:
    number: int
    kind: int
    count: int
    value: int
    """The number, if the tag has a single short or long number."""


def refuse_costly_tiff(data: bytes) -> None:
    """Raise ImageError if the tags declare more data than the file has, or than an image needs."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    if not data.startswith(TIFF_STARTS[:2]):
        raise ImageError(
            "an unsupported kind of TIFF, such as BigTIFF; save it as an ordinary TIFF"
        )
    first = _checked(data, int.from_bytes(data[4:8], order), order)
    for pointer in _POINTERS & first.keys():
        _checked(data, first[pointer], order)
    if first.get(_COMPRESSION, 1) not in COMPRESSIONS:
        raise ImageError("a TIFF with an unsupported compression; save it with LZW or uncompressed")
    pixels = first.get(_WIDTH, 0) * first.get(_HEIGHT, 0)
    tile = first.get(_TILE_WIDTH, 0) * first.get(_TILE_HEIGHT, 0)
    if tile > max(pixels, MAX_TILE_PIXELS):
        raise ImageError("a TIFF with tiles far larger than the image, like a decompression bomb")


def _checked(data: bytes, at: int, order: Literal["little", "big"]) -> dict[int, int]:
    """Return the checked tags with one number of the directory at offset `at`."""
    if int.from_bytes(data[at : at + 2], order) > MAX_TAGS:
        raise ImageError("a TIFF with too many tags, like a decompression bomb")
    found: dict[int, int] = {}
    declared = 0
    for tag in _tags(data, at, order):
        declared += tag.count * _SIZES.get(tag.kind, _LARGEST)
        if tag.kind not in _TEXT_OR_BYTES and tag.count > MAX_VALUES:
            raise ImageError("a TIFF with too many values in a tag, like a decompression bomb")
        if tag.number in _ONE_NUMBER:
            if tag.kind not in (_SHORT, _LONG, _DIRECTORY) or tag.count != 1 or tag.number in found:
                raise ImageError("the image is damaged and cannot be decoded")
            found[tag.number] = tag.value
    if declared > len(data):
        raise ImageError(
            "a TIFF whose tags declare more data than the file has, like a decompression bomb"
        )
    return found


def _tags(data: bytes, at: int, order: Literal["little", "big"]) -> Iterator[_Tag]:
    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)

    for entry in range(at + 2, at + 2 + 12 * number(at, 2), 12):
        kind = number(entry + 2, 2)
        value = number(entry + 8, 2 if kind == _SHORT else 4)
        yield _Tag(number(entry, 2), kind, number(entry + 4, 4), value)
