"""Small valid images of every format that is read, to be damaged."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (20, 16)


def noise(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return an image of random colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _frames(form: str, count: int = 3, **options: Any) -> bytes:
    first, *others = (noise(i) for i in range(count))
    return encoded(first, form, save_all=True, append_images=others, **options)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "a description", 72.0
    return exif


_DEEP = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[1], SIZE[0]) * 200

SOUND: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(noise(1), "JPEG", exif=_exif()),
    "jpeg progressive": lambda: encoded(noise(2), "JPEG", progressive=True),
    "jpeg cmyk": lambda: encoded(noise(3).convert("CMYK"), "JPEG"),
    "jpeg restarts": lambda: encoded(noise(4), "JPEG", restart_marker_rows=1),
    "mpo": lambda: _frames("MPO"),
    "png": lambda: encoded(noise(5), "PNG", exif=_exif()),
    "png palette": lambda: encoded(noise(6).quantize(32), "PNG", transparency=b"\x10\x20"),
    "png 16 bits": lambda: encoded(Image.fromarray(_DEEP), "PNG"),
    "apng": lambda: _frames("PNG"),
    "gif": lambda: _frames("GIF"),
    "bmp": lambda: encoded(noise(7), "BMP"),
    "bmp palette": lambda: encoded(noise(8).quantize(16), "BMP"),
    "webp": lambda: encoded(noise(9), "WEBP", exif=_exif()),
    "webp lossless": lambda: encoded(noise(10).convert("RGBA"), "WEBP", lossless=True),
    "webp frames": lambda: _frames("WEBP"),
    "avif": lambda: encoded(noise(15), "AVIF", exif=_exif()),
    "heic": (Path(__file__).parents[1] / "unit" / "data" / "cutout.heic").read_bytes,
    "tiff": lambda: encoded(noise(11), "TIFF", exif=_exif()),
    "tiff lzw": lambda: encoded(noise(12), "TIFF", compression="tiff_lzw"),
    "tiff deflate": lambda: encoded(
        Image.fromarray(_DEEP), "TIFF", compression="tiff_adobe_deflate"
    ),
    "tiff jpeg": lambda: encoded(noise(13), "TIFF", compression="jpeg"),
    "tiff float": lambda: encoded(Image.fromarray(_DEEP.astype(np.float32)), "TIFF"),
    "tiff fax": lambda: encoded(noise(14).convert("1"), "TIFF", compression="group4"),
    "tiff pages": lambda: _frames("TIFF"),
}
FORMS = tuple(SOUND)


@lru_cache(maxsize=64)
def sound(form: str) -> bytes:
    """Return the image of SOUND with this name."""
    return SOUND[form]()


def of_turn(n: int) -> bytes:
    """Return the n-th image of SOUND, starting over after the last one."""
    return sound(FORMS[n % len(FORMS)])


def marked(rng: random.Random, data: bytes) -> bytes:
    """Append random bytes, so that no two files are equal."""
    return data + rng.randbytes(8)
