"""Small images and zips, good ones and bad ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np
from PIL import Image

COLOURS = {
    "apple": (200, 30, 40),
    "banana": (230, 210, 60),
    "blueberry": (50, 60, 150),
    "lime": (90, 200, 70),
}
"""Class -> mean colour, which makes the classes easy to tell apart."""


def photo(name: str, seed: int, form: str = "PNG") -> bytes:
    """A 48 x 48 image of the class's colour with noise on it; each seed gives another one."""
    rng = np.random.default_rng([sum(name.encode()), seed])
    noise = rng.normal(scale=25, size=(48, 48, 3))
    pixels = np.clip(np.array(COLOURS.get(name, (128, 128, 128))) + noise, 0, 255)
    return encoded(Image.fromarray(pixels.astype(np.uint8)), form)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    data = io.BytesIO()
    image.save(data, form)
    return data.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of path -> content; a path that ends with `/` is an empty folder."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, content in files.items():
            # a ZipInfo has no time of its own: the same files make the same zip
            archive.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def photos(*names: str, count: int = 4, folder: str = "", first_seed: int = 0) -> dict[str, bytes]:
    """`count` images in a folder per class."""
    return {
        f"{folder}{name}/{seed}.png": photo(name, seed)
        for name in names
        for seed in range(first_seed, first_seed + count)
    }


def good_zip() -> bytes:
    """Four classes with training and test images."""
    train = photos(*COLOURS, count=6, folder="train/")
    return zipped(train | photos(*COLOURS, count=3, folder="test/", first_seed=100))
