"""JPEGs of the size that data sets of photos have."""

from __future__ import annotations

import io
import random
from pathlib import Path

from PIL import Image, ImageOps

from scripts.demo.data import PHOTOGRAPHS, photo_path

SIZE = (500, 375)
QUALITY = 90
_ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}
_KEEPS = (0.6, 1.0)
"""Share of a photo's sides that a crop has."""


def make_photos(folder: Path | None, count: int, seed: int) -> list[bytes]:
    """JPEGs of crops of the photos below `folder`, or of the photographs of the demo.

    Raises OSError, or ValueError where there is none.
    """
    rng = random.Random(seed)
    if folder is None:
        files = [photo_path(photograph) for photograph in PHOTOGRAPHS]
    else:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS)
        if not files:
            raise ValueError(f"{folder} holds no photos ({', '.join(sorted(_ENDINGS))})")
        files = rng.sample(files, min(count, len(files)))
    return [_crop(files[number % len(files)], rng) for number in range(count)]


def tiny_png() -> bytes:
    """The smallest image that is none to refuse."""
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
