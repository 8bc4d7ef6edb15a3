"""Recognise files by their first bytes, and open images without decoding them."""

from __future__ import annotations

import io
import struct

from pi_heif import HeifImageFile
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

FORMATS = ("PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
"""What Pillow opens. JPEG and HEIC are opened by their own classes."""
KNOWN = "JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF"

_JPEG = b"\xff\xd8\xff"
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_BAD_HEADER = (SyntaxError, IndexError, TypeError, EOFError, struct.error)

_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
}
_OTHERS = {
    b"%PDF": "a PDF document",
    b"\x00\x00\x01\x00": "an icon",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x0a": "a JPEG XL image",
    b"8BPS": "a Photoshop file",
    b"RIFF": "a sound or video file",
    b"\x1aE\xdf\xa3": "a video",
    b"\x89PNG": "a PNG image",
    _JPEG: "a JPEG image",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
}


def recognise(data: bytes) -> str | None:
    """Return the kind of a file from its first bytes, such as "a PDF document", or None."""
    if data[8:12] == b"WEBP" and data.startswith(b"RIFF"):
        return "a WebP image"
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if any(brand in _AVIF_BRANDS for brand in brands):
            return "an AVIF image"
        return "a HEIC photo" if brands[0] in _HEIC_BRANDS else "a video"
    if data[257:262] == b"ustar":
        return "a tar archive"
    for start, what in (_ARCHIVES | _OTHERS).items():
        if data.startswith(start):
            return what
    text = data[:512].lstrip().lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in text:
        return "an SVG drawing"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return None


READABLE = frozenset(
    [
        *(f"a {kind} image" for kind in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF")),
        "an AVIF image",
        "a HEIC photo",
    ]
)
"""Kinds of files that are read as images."""


def is_image(start: bytes) -> bool:
    """Return whether a file with these first bytes is an image that can be read."""
    return recognise(start) in READABLE


def is_jpeg(data: bytes) -> bool:
    """Return whether a file is a JPEG, by its first bytes."""
    return data.startswith(_JPEG)


def is_heic(data: bytes) -> bool:
    """Return whether a file is a HEIC photo, by its first bytes."""
    return data[4:8] == b"ftyp" and recognise(data) == "a HEIC photo"


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image. Raises UnidentifiedImageError or an error of Pillow.

    Of several images in a file, it is the first, or the one that the file calls primary.
    """
    stream = io.BytesIO(data)
    opener = JpegImageFile if is_jpeg(data) else HeifImageFile if is_heic(data) else None
    if opener is None:
        return Image.open(stream, formats=FORMATS)
    # Image.open would refuse large JPEGs that can be decoded at a reduced size, and would need
    # the plugin for HEIC to be registered in the whole process.
    try:
        image: Image.Image = opener(stream)
    except _BAD_HEADER as error:
        raise UnidentifiedImageError from error
    return image


def _brands(data: bytes) -> list[bytes]:
    """The brands in the first box of an ISO media file, the major one first."""
    size = min(int.from_bytes(data[:4], "big"), 256, len(data))
    return [data[8:12], *(data[at : at + 4] for at in range(16, size - 3, 4))]
