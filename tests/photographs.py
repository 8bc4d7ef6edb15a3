"""Small data sets cut from scikit-image's photographs, each class from one of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from app.datasets.demo_photos import PHOTOGRAPHS, parts, photo_path, random_boxes

SIDE = 96
"""Side of a saved crop, in pixels."""


def write_photographs(
    folder: Path,
    classes: Sequence[str],
    *,
    train: int = 8,
    test: int = 0,
    test_folder: str = "test",
    seed: int = 0,
) -> Path:
    """Write `train` and `test` crops of every class below `folder` and return it.

    Laid out as train/<class>/N.png and test/<class>/N.png, or as <class>/N.png without `test`. The
    training and the test crops come from parts of the photograph that share no pixel.
    """
    rng = np.random.default_rng(seed)
    for photograph in PHOTOGRAPHS:
        if photograph.folder not in classes:
            continue
        with Image.open(photo_path(photograph)) as opened:
            image = opened.convert("RGB")
        for part, count, top in zip(
            parts(image.size), (train, test), ("train" if test else "", test_folder), strict=True
        ):
            for number, box in enumerate(random_boxes(part, count, rng)):
                file = folder / top / photograph.folder / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                image.crop(box).resize((SIDE, SIDE)).save(file)
    return folder


def jpegs(count: int) -> list[bytes]:
    """As many photographs, each as a JPEG file."""
    found = []
    for photograph in PHOTOGRAPHS[:count]:
        file = io.BytesIO()
        with Image.open(photo_path(photograph)) as image:
            image.convert("RGB").save(file, "jpeg")
        found.append(file.getvalue())
    return found
