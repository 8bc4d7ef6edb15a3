"""Decode untrusted image files to RGB; every failure is an ImageError with the reason."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from dspt.data.appearance import SIDE, flaws_of
from dspt.data.colours import to_rgb
from dspt.data.depth import bits_of, deep_colours
from dspt.data.formats import KNOWN, READABLE, is_jpeg, open_image, recognise
from dspt.data.hostile.limits import MAX_PIXELS
from dspt.data.hostile.quiet import quiet_libraries
from dspt.data.hostile.structure import refuse_costly
from dspt.errors import ImageError
from dspt.kit.memory import memory_limit

MAX_ASPECT = 100
"""Longest side over shortest. Scaling up the short side of a narrow strip needs much memory."""
MAX_REDUCED = 4
"""A JPEG with up to so many times the pixel limit is decoded at a reduced size."""
MAX_REDUCED_PROGRESSIVE = 2
_MAX_PIXELS_PER_BYTE = 200
"""Of such a JPEG. Photographs have fewer than 20; a single colour has about 100."""
_MAX_EXIF_BYTES = 1 << 20
"""Pillow creates an object for every number in EXIF. In a JPEG, EXIF has at most 64 KiB."""

_JPEG_QUALITY = 85
"""Pillow recommends at most 95; the difference from 85 is hardly visible."""

NESTED_ARCHIVE = "an archive inside the data set; unpack it before zipping"

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


def decode_image(
    data: bytes, *, side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode a JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF (first frame) or TIFF (first page) to RGB.

    The format is detected from the content. EXIF orientation is applied, transparency becomes
    white, and deep samples are scaled to 8 bits. A JPEG with more than `max_pixels` is decoded at
    a half, a quarter or an eighth of its size.

    side: number of pixels that the shorter side needs at least. A larger JPEG is decoded at a half,
    a quarter or an eighth of its size if that leaves as many, in a fraction of the time. Default:
    the full size.

    Raises ImageError with the reason.
    """
    with _opened(data, max_pixels, side) as image:
        return _upright_rgb(image, data)[0]


def as_jpeg(data: bytes, side: int | None) -> bytes:
    """Decode an image as `decode_image` does, and encode it as JPEG, without metadata.

    side: number of pixels that the longer side has at most, None for all; a JPEG is then decoded at
    a reduced size. Raises ImageError with the reason.
    """
    with _opened(data, MAX_PIXELS, side) as image:  # limits the memory until the end
        rgb, _ = _upright_rgb(image, data)
        if side is not None:
            rgb.thumbnail((side, side), Image.Resampling.LANCZOS)
        encoded = io.BytesIO()
        rgb.save(encoded, "JPEG", quality=_JPEG_QUALITY)
        return encoded.getvalue()


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image that Pillow opened as `decode_image` does."""
    return _upright_rgb(image, b"")[0]


def _upright_rgb(image: Image.Image, data: bytes) -> tuple[Image.Image, int | None]:
    """Return the image, and the bits of each sample if it uses fewer than the 16 that it could.

    data: the file; without it, the bits of deep colour samples are not known.
    """
    image.load()
    # After load(): the EXIF of a PNG may come last, and Pillow rotates a TIFF while loading it.
    turn = _exif_transpose(image)
    bits = bits_of(np.asarray(image), data) if image.mode.startswith("I;16") else None
    if data and (deep := deep_colours(image, data)) is not None:
        image, bits = deep
    rgb = to_rgb(image, bits)
    return rgb if turn is None else rgb.transpose(turn), None if bits == 16 else bits


def check_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, spend: Callable[[int], None] | None = None
) -> tuple[str, ...]:
    """Raise ImageError in the same cases as `decode_image`; return remarks about the photo.

    Takes less time: a JPEG is read completely, but decoded at a reduced size. The remarks are
    `flaws_of` the photo, and the bits per sample if it uses fewer than it could.
    spend: called with the number of pixels before they are decoded; its errors are passed on.
    """
    with _opened(data, max_pixels) as image:
        size = image.size
        if spend is not None:
            spend(image.width * image.height)
        if is_jpeg(data):
            image.draft(image.mode, (SIDE, SIDE))
            image.load()
            return flaws_of(image, size)
        rgb, bits = _upright_rgb(image, data)
        return (*([] if bits is None else [f"{bits} bits"]), *flaws_of(rgb, size))


@contextmanager
def _opened(data: bytes, max_pixels: int, side: int | None = None) -> Iterator[Image.Image]:
    """Yield the image with its header read; errors in the body become ImageError too.

    side: see `decode_image`.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    refuse_costly(data)
    with quiet_libraries():
        try:
            with open_image(data) as image:
                cost = _check_size(image, len(data), max_pixels, side)
                with _decoding.acquired(cost):
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


def _check_size(image: Image.Image, n_bytes: int, max_pixels: int, side: int | None) -> int:
    """Return the pixels to reserve memory for; sets a large JPEG to be decoded smaller."""
    width, height = image.size
    pixels = width * height
    if width < 1 or height < 1:
        raise ImageError("the image has no pixels")
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ImageError(f"{width:,} x {height:,} pixels is too narrow (limit 1 : {MAX_ASPECT})")
    if image.format == "HEIF":
        # The header may understate the size, so such photos are decoded one at a time, within
        # libheif's own limits.
        if pixels <= max_pixels:
            return MAX_PIXELS
    elif image.format == "JPEG":
        progressive = "progressive" in image.info
        # libjpeg keeps 6 bytes for each pixel of a progressive JPEG, whatever the size it decodes.
        most = max_pixels * (MAX_REDUCED_PROGRESSIVE if progressive else MAX_REDUCED)
        too_large = max_pixels < pixels
        if not too_large or pixels <= min(most, n_bytes * _MAX_PIXELS_PER_BYTE - 1):
            scale = next(s for s in (1, 2, 4, 8) if pixels <= max_pixels * s * s)
            if side is not None or scale > 1:  # Pillow ignores a second draft
                least = side or max(image.size)
                image.draft(image.mode, (min(least, width // scale), min(least, height // scale)))
            if not progressive:
                return image.width * image.height
            return MAX_PIXELS if too_large else pixels
    if pixels > max_pixels:
        raise ImageError(f"{width:,} x {height:,} pixels (limit {max_pixels:,} pixels)")
    return pixels


class _PixelSemaphore:
    """Limits the pixels that all threads decode at the same time.

    Together they need no more memory than one image of the largest size, at 16 bytes per pixel, and
    no more than a quarter of the limit of a container.
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


_decoding = _PixelSemaphore(min(MAX_PIXELS, (memory_limit() or MAX_PIXELS * 64) // 64))


def _why_no_image(data: bytes) -> str:
    what = recognise(data)
    if what is None:
        return "not an image"
    if what.endswith("archive"):
        return NESTED_ARCHIVE
    if what in READABLE:
        return f"starts like {what} but is damaged"
    return f"{what}, not a {KNOWN} image"


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
    if len(image.info.get("exif") or b"") > _MAX_EXIF_BYTES:
        return None
    try:
        return _EXIF_ORIENTATIONS.get(image.getexif().get(0x0112, 1))
    except _DECODER_ERRORS:
        return None
