"""JPEGs of the usual size of photos in data sets."""

from __future__ import annotations

import io
import random
from pathlib import Path

from PIL import Image, ImageOps

from app.datasets.demo_photos import PHOTOGRAPHS, photo_path

SIZE = (500, 375)
QUALITY = 90
_KEEPS = (0.6, 1.0)
"""Least and greatest side of a crop, as a share of the side of the photo."""


def make_photos(count: int, seed: int) -> list[bytes]:
    """Return JPEGs of crops of the demo's photos. Raises OSError."""
    rng = random.Random(seed)
    files = [photo_path(photograph) for photograph in PHOTOGRAPHS]
    return [_crop(files[number % len(files)], rng) for number in range(count)]


def tiny_png() -> bytes:
    """Return the smallest image that is accepted."""
    return _encoded(Image.new("RGB", (8, 8), "grey"), "PNG")


def _crop(file: Path, rng: random.Random) -> bytes:
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    width, height = (round(side * rng.uniform(*_KEEPS)) for side in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    crop = image.crop((left, top, left + width, top + height))
    return _encoded(ImageOps.fit(crop, SIZE, Image.Resampling.BICUBIC), "JPEG", quality=QUALITY)


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()
