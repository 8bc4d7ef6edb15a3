"""Decode untrusted image files to RGB; every failure is an ImageError with the reason."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from dspt.data.colours import to_rgb
from dspt.data.hostile.limits import MAX_PIXELS
from dspt.data.hostile.quiet import quiet_libraries
from dspt.data.hostile.structure import refuse_costly
from dspt.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_ASPECT = 100
"""Longest side over shortest. Scaling up the short side of a narrow strip needs much memory."""
_MAX_EXIF_BYTES = 1 << 20
"""Pillow creates an object for every number in EXIF. In a JPEG, EXIF has at most 64 KiB."""

NESTED_ARCHIVE = "an archive inside the data set; unpack it before zipping"

_JPEGS = ("JPEG", "MPO")

_DECODER_ERRORS = (  # raised by Pillow's decoders for damaged files
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

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
    b"\xff\xd8\xff": "a JPEG image",
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
        brand = data[8:12]
        if brand in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"hevc"):
            return "a HEIC photo"
        return "an AVIF image" if brand in (b"avif", b"avis") else "a video"
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


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a JPEG, PNG, WebP, BMP, GIF (first frame) or TIFF (first page) to 8-bit RGB.

    The format is detected from the content. EXIF orientation is applied, transparency becomes
    white, and 16-bit and float samples are scaled to 8 bits. Raises ImageError with the reason.
    """
    with _opened(data, max_pixels) as image:
        image.load()
        # After load(): the EXIF of a PNG may come last, and Pillow rotates a TIFF while loading it.
        turn = _exif_transpose(image)
        rgb = to_rgb(image)
        return rgb if turn is None else rgb.transpose(turn)


def check_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, spend: Callable[[int], None] | None = None
) -> None:
    """Raise ImageError in the same cases as `decode_image`, in less time.

    A JPEG is read completely, but each of its blocks is decoded to a single pixel.
    spend: called with the number of pixels before they are decoded; its errors are passed on.
    """
    with _opened(data, max_pixels) as image:
        if spend is not None:
            spend(image.width * image.height)
        if image.format in _JPEGS:
            image.draft(image.mode, (1, 1))
            image.load()
        else:
            to_rgb(image)


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Yield the image with its header read; errors in the body become ImageError too."""
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    refuse_costly(data)
    with quiet_libraries():
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image.size, max_pixels)
                with _decoding.acquired(image.width * image.height):
                    yield image
        except UnidentifiedImageError:
            raise ImageError(_why_no_image(data)) from None
        except Image.DecompressionBombError:
            raise ImageError(f"too many pixels (limit {max_pixels:,})") from None
        except _DECODER_ERRORS as error:
            cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
            raise ImageError(
                "the image is truncated: part of it is missing"
                if cut
                else "the image is damaged and cannot be decoded"
            ) from error


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError("the image has no pixels")
    if width * height > max_pixels:
        raise ImageError(f"{width:,} x {height:,} pixels (limit {max_pixels:,} pixels)")
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(f"{width:,} x {height:,} pixels is too narrow (limit 1 : {MAX_ASPECT})")


class _PixelSemaphore:
    """Limits the pixels that all threads decode at the same time.

    Together they need no more memory than one image of the largest size: 16 bytes per pixel.
    """

    def __init__(self, pixels: int) -> None:
        self._pixels = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def acquired(self, pixels: int) -> Iterator[None]:
        wanted = min(pixels, self._pixels)  # a larger image is decoded alone
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


_decoding = _PixelSemaphore(MAX_PIXELS)


def _why_no_image(data: bytes) -> str:
    what = recognise(data)
    if what is None:
        return "not an image"
    if what.endswith("archive"):
        return NESTED_ARCHIVE
    if what in ("a JPEG image", "a PNG image", "a GIF image", "a BMP image", "a TIFF image"):
        return f"starts like {what} but is damaged"
    return f"{what}, not a JPEG, PNG, WebP, BMP, GIF or TIFF image"


_EXIF_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _exif_transpose(image: Image.Image) -> Image.Transpose | None:
    """Return the EXIF orientation as a transpose; None also for damaged EXIF, which is ignored."""
    if len(image.info.get("exif", b"")) > _MAX_EXIF_BYTES:
        return None
    try:
        return _EXIF_ORIENTATIONS.get(image.getexif().get(0x0112, 1))
    except _DECODER_ERRORS:
        return None
