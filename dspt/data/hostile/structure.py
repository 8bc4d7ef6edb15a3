"""Check the structure of an image file before Pillow reads it.

Pillow reads headers in Python, block by block, and keeps much of what it reads: a small picture
with millions of empty blocks costs a minute and gigabytes. Photographs have tens of blocks, far
below the limits. Damaged files are not detected here but by Pillow.
"""

from __future__ import annotations

import re

from dspt.data.hostile.tiff import TIFF_STARTS, refuse_costly_tiff
from dspt.errors import ImageError

MAX_JPEG_SCANS = 200
"""A photograph has one scan, or about ten if progressive; each is a pass over all pixels."""
MAX_JPEG_SEGMENTS = 1000
"""Segments before the first scan. A large depth map in the metadata takes two hundred."""
MAX_JPEG_EXIF_SEGMENTS = 16
"""The standard allows one. Pillow joins them and copies all data each time."""
MAX_JPEG_PADDING = 64 * 1024
MAX_PNG_CHUNKS = 20_000
"""A file of 64 MiB has 16,000 chunks of 4 KiB."""
MAX_GIF_BLOCKS = 20_000
"""Blocks before the first frame."""
MAX_BMP_RUN_BYTES = 4 * 1024 * 1024
MAX_BMP_RUN_PIXELS = 4_000_000
"""Pillow decodes runs in Python, one by one."""

_SCAN_HEADER = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_NO_FILL_BYTE = re.compile(rb"[^\xff]")
_JPEG_SCAN = 0xDA
_JPEG_LONE_MARKERS = frozenset([0x00, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)])
_GIF_FRAME_OR_END, _GIF_EXTENSION = b",;", ord("!")
_GIF_COMMENT, _GIF_APPLICATION = b"\xfe", b"\xff"
_BMP_RUNS = (1, 2)


def refuse_costly(data: bytes) -> None:
    """Raise ImageError for a file that is far more expensive to read than its pixels."""
    if data.startswith(b"\xff\xd8\xff"):
        _refuse_costly_jpeg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        _refuse_costly_png(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        _refuse_costly_gif(data)
    elif data.startswith(b"BM"):
        _refuse_costly_bmp(data)
    elif data.startswith(TIFF_STARTS):
        refuse_costly_tiff(data)


def _refuse_costly_jpeg(data: bytes) -> None:
    if sum(1 for _ in _SCAN_HEADER.finditer(data)) > MAX_JPEG_SCANS:
        raise ImageError("a JPEG with too many scans, like a decompression bomb")
    at, segments, exif, padding = 2, 0, 0, 0
    while at < len(data):
        mark = data.find(b"\xff", at)
        code_at = _NO_FILL_BYTE.search(data, mark) if mark >= 0 else None
        segment = code_at.start() if code_at else len(data)
        padding += segment - at - 1
        segments += 1
        if segments > MAX_JPEG_SEGMENTS or padding > MAX_JPEG_PADDING:
            raise _costly("a JPEG with too many segments")
        if code_at is None or data[segment] == _JPEG_SCAN:
            return
        at = segment + 1
        if data[segment] in _JPEG_LONE_MARKERS:
            continue
        exif += data.startswith(b"Exif\0\0", at + 2)
        if exif > MAX_JPEG_EXIF_SEGMENTS:
            raise _costly("a JPEG with too many EXIF segments")
        at += max(2, int.from_bytes(data[at : at + 2], "big"))


def _refuse_costly_png(data: bytes) -> None:
    at, chunks = 8, 0
    while at < len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        chunks += 1
        if chunks > MAX_PNG_CHUNKS:
            raise _costly("a PNG with too many chunks")


def _refuse_costly_gif(data: bytes) -> None:
    flags = data[10] if len(data) > 10 else 0
    at, blocks = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0
    while at < len(data) and data[at] not in _GIF_FRAME_OR_END:
        blocks += 1
        if data[at] == _GIF_EXTENSION:
            at, in_extension = _after_gif_extension(data, at)
            blocks += in_extension
        else:
            at += 1
        if blocks > MAX_GIF_BLOCKS:
            raise _costly("a GIF with too many blocks")


def _after_gif_extension(data: bytes, at: int) -> tuple[int, int]:
    """Return where the extension ends and its number of blocks, counted to just above the limit.

    An empty block ends an extension. Pillow reads on if the empty block is the first one, except
    in a comment, or if it follows the name of the loop count.
    """
    label, at, blocks = data[at + 1 : at + 2], at + 2, 0
    must_read = 0 if label == _GIF_COMMENT else 1
    if label == _GIF_APPLICATION and data.startswith(b"NETSCAPE2.0", at + 1):
        must_read = 2
    while at < len(data) and blocks <= MAX_GIF_BLOCKS:
        size = data[at]
        at += 1 + size
        blocks += 1
        if blocks > must_read and size == 0:
            break
    return at, blocks


def _refuse_costly_bmp(data: bytes) -> None:
    if int.from_bytes(data[30:34], "little") not in _BMP_RUNS:
        return
    width = int.from_bytes(data[18:22], "little", signed=True)
    height = int.from_bytes(data[22:26], "little", signed=True)
    if len(data) > MAX_BMP_RUN_BYTES or abs(width * height) > MAX_BMP_RUN_PIXELS:
        raise ImageError(
            f"a run-length encoded BMP with more than {MAX_BMP_RUN_PIXELS:,} pixels or "
            f"{MAX_BMP_RUN_BYTES:,} bytes; save it uncompressed, or as PNG"
        )


def _costly(what: str) -> ImageError:
    return ImageError(f"{what}, like a decompression bomb")
