"""The directory of a TIFF, looked at before Pillow and libtiff read it.

Each of its tags says how many values it has and where they are, in a few bytes: that is room for
promises of gigabytes, which both libraries believe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dspt.errors import ImageError

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
"""All that Pillow takes for a TIFF, also in the wrong byte order, or with 64-bit offsets."""
MAX_TAGS = 1000
"""In one directory; a photograph has fewer than a hundred."""
MAX_VALUES = 100_000
"""Numbers in one tag: Pillow makes an object of each. A strip for each row of pixels is 64,000."""
MAX_TILE_PIXELS = 4_000_000
"""Of a tile that is larger than its image; libtiff unpacks the whole of it."""

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
"""What cameras, scanners and editors write; no rare decoder is reached from outside."""

_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 322, 323
_POINTERS = frozenset([34665, 34853, 40965])
"""To the directories of EXIF, GPS and interoperability, which Pillow reads too."""
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
    """Of a tag with one short or long number."""


def refuse_costly_tiff(data: bytes) -> None:
    """Raise ImageError for tags that promise more than the file has, or than a picture needs."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    if not data.startswith(TIFF_STARTS[:2]):
        raise ImageError("a TIFF of an unusual kind, such as BigTIFF; save it as an ordinary TIFF")
    first = _checked(data, int.from_bytes(data[4:8], order), order)
    for pointer in _POINTERS & first.keys():
        _checked(data, first[pointer], order)
    if first.get(_COMPRESSION, 1) not in COMPRESSIONS:
        raise ImageError("a TIFF packed in an unusual way; save it with LZW, or unpacked")
    pixels = first.get(_WIDTH, 0) * first.get(_HEIGHT, 0)
    tile = first.get(_TILE_WIDTH, 0) * first.get(_TILE_HEIGHT, 0)
    if tile > max(pixels, MAX_TILE_PIXELS):
        raise ImageError("a TIFF of tiles that are far larger than the image, like a bomb")


def _checked(data: bytes, at: int, order: Literal["little", "big"]) -> dict[int, int]:
    """The values of the tags that matter here, of the directory at `at`."""
    if int.from_bytes(data[at : at + 2], order) > MAX_TAGS:
        raise ImageError("a TIFF of too many tags, like a bomb")
    found: dict[int, int] = {}
    promised = 0
    for tag in _tags(data, at, order):
        promised += tag.count * _SIZES.get(tag.kind, _LARGEST)
        if tag.kind not in _TEXT_OR_BYTES and tag.count > MAX_VALUES:
            raise ImageError("a TIFF with too many values in a tag, like a bomb")
        if tag.number in _ONE_NUMBER:
            if tag.kind not in (_SHORT, _LONG, _DIRECTORY) or tag.count != 1 or tag.number in found:
                raise ImageError("the image is damaged and cannot be decoded")
            found[tag.number] = tag.value
    if promised > len(data):
        raise ImageError("a TIFF whose tags promise more than the file has, like a bomb")
    return found


def _tags(data: bytes, at: int, order: Literal["little", "big"]) -> Iterator[_Tag]:
    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)

    for entry in range(at + 2, at + 2 + 12 * number(at, 2), 12):
        kind = number(entry + 2, 2)
        value = number(entry + 8, 2 if kind == _SHORT else 4)
        yield _Tag(number(entry, 2), kind, number(entry + 4, 4), value)
