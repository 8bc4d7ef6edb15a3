"""A small set of real photographs with wrong labels planted in it.

Every class is one photograph from scikit-image's wheel, so nothing is downloaded. The training
crops of a class come from one part of its photograph and the test crops from another part; no crop
touches the strip between them. All crops of a class still show one scene, so the set is easy:
it shows what the service does, not how accurate it is on other photographs.

scikit-image is in the extra `demo` only.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dspt.labels.inject import flip_labels

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the photograph; right and bottom are exclusive."""

TRAIN_CROPS = 16
TEST_CROPS = 20
UNSEEN_CROPS = 1
"""Crops per class. The unseen ones are not in the zip; they are classified afterwards."""
WRONG_LABELS = 0.3
"""Share of the training crops that get the label of another class."""

GAP = 0.04
"""Width of the strip between the training and the test part, as a share of the photograph."""
SCALES = (0.5, 0.95)
"""Range of a crop's side before resizing, as a share of the shorter side of its part."""
_MOST_SHARED = 0.7
"""Share of the larger side that two crops may have in common in both directions."""
_TRIES = 100
"""Draws per crop, after which a crop may be nearly the same as another."""
SIDE = 224
"""Side of a saved crop in pixels."""


@dataclass(frozen=True)
class Photograph:
    """One class of the set."""

    folder: str
    file: str
    """Name in skimage/data."""
    licence: str
    source: str


# Licences as stated in scikit-image's documentation for each photograph. Photographs without a
# stated licence are covered by scikit-image's own.
_FREE = "no known copyright restrictions"
_CMMI = "Center for Microscopy and Molecular Imaging"
PHOTOGRAPHS = (
    Photograph("brick", "brick.png", "CC0", "CC0Textures, Bricks25"),
    Photograph("cat", "chelsea.png", "CC0", "Stefan van der Walt"),
    Photograph("coffee", "coffee.png", "CC0", "Rachel Michetti"),
    Photograph("coins", "coins.png", _FREE, "Brooklyn Museum"),
    Photograph("galaxies", "hubble_deep_field.jpg", "public domain", "NASA"),
    Photograph("grass", "grass.png", "CC0", "linolafett, Grass 01"),
    Photograph("gravel", "gravel.png", "CC0", "CC0Textures, Gravel04"),
    Photograph("handwriting", "text.png", "public domain", "Wikipedia, Corner.png"),
    Photograph("moon", "moon.png", "BSD-3-Clause", "scikit-image"),
    Photograph("page", "page.png", "BSD-3-Clause", "scikit-image"),
    Photograph("retina", "retina.jpg", "CC0", "Mikael Häggström"),
    Photograph("tissue", "ihc.png", _FREE, _CMMI),
)


@dataclass(frozen=True)
class Unseen:
    """A photograph that is not in the zip, with its true class."""

    name: str
    jpeg: bytes
    truth: str


@dataclass(frozen=True)
class DemoData:
    """The zip that the demo uploads, and the truth about its labels."""

    zip: bytes
    """train/<recorded class>/photo-N.jpg and test/<class>/photo-N.jpg."""
    planted: Mapping[str, str]
    """Training file with a wrong label -> its true class."""
    unseen: tuple[Unseen, ...]


def make_demo_data(seed: int = 1) -> DemoData:
    """Return the demo's data: crops, planted wrong labels, the zip. Deterministic in `seed`."""
    rng = np.random.default_rng(seed)
    train: list[tuple[int, bytes]] = []
    test: list[tuple[int, bytes]] = []
    unseen: list[tuple[int, bytes]] = []
    for label, photograph in enumerate(PHOTOGRAPHS):
        with Image.open(photo_path(photograph)) as opened:
            image = opened.convert("RGB")
        train_part, test_part = parts(image.size)
        for box in random_boxes(train_part, TRAIN_CROPS, rng):
            train.append((label, _jpeg(image, box, rng)))
        for number, box in enumerate(random_boxes(test_part, TEST_CROPS + UNSEEN_CROPS, rng)):
            (test if number < TEST_CROPS else unseen).append((label, _jpeg(image, box, rng)))

    # Shuffled, so that neither the name nor the position of a file gives its true class away.
    order = rng.permutation(len(train))
    labels = [train[i][0] for i in order]
    noisy_labels = flip_labels(labels, len(PHOTOGRAPHS), WRONG_LABELS, seed=seed).labels
    files: dict[str, bytes] = {}
    planted: dict[str, str] = {}
    for number, (i, label) in enumerate(zip(order, noisy_labels, strict=True), start=1):
        truth, jpeg = train[i]
        name = f"train/{PHOTOGRAPHS[label].folder}/photo-{number:03}.jpg"
        files[name] = jpeg
        if label != truth:
            planted[name] = PHOTOGRAPHS[truth].folder
    for number, (truth, jpeg) in enumerate(test, start=1):
        files[f"test/{PHOTOGRAPHS[truth].folder}/photo-{number:03}.jpg"] = jpeg
    return DemoData(
        zip=_zipped(files),
        planted=planted,
        unseen=tuple(
            Unseen(f"unseen-{number:02}.jpg", jpeg, PHOTOGRAPHS[truth].folder)
            for number, (truth, jpeg) in enumerate(unseen, start=1)
        ),
    )


def photo_path(photograph: Photograph) -> Path:
    """Return the path of the file in scikit-image's wheel. Raises ImportError without it."""
    import skimage

    return Path(skimage.__file__).parent / "data" / photograph.file


def parts(size: tuple[int, int]) -> tuple[Box, Box]:
    """Return the left part (for training) and the right part (for testing) of (width, height)."""
    width, height = size
    left_end = round(width * (0.5 - GAP / 2))
    right_start = round(width * (0.5 + GAP / 2))
    return (0, 0, left_end, height), (right_start, 0, width, height)


def random_boxes(part: Box, count: int, rng: np.random.Generator) -> list[Box]:
    """Return `count` squares of random size and position within `part`.

    None of them is nearly the same as an earlier one, unless there is no room for another.
    """
    left, top, right, bottom = part
    boxes: list[Box] = []
    tries = 0
    while len(boxes) < count:
        side = round(min(right - left, bottom - top) * rng.uniform(*SCALES))
        x = int(rng.integers(left, right - side, endpoint=True))
        y = int(rng.integers(top, bottom - side, endpoint=True))
        box = (x, y, x + side, y + side)
        tries += 1
        if tries > _TRIES * count or not any(_nearly_same(box, earlier) for earlier in boxes):
            boxes.append(box)
    return boxes


def _nearly_same(one: Box, other: Box) -> bool:
    """Whether two squares share most of their area, so that one looks like a copy of the other."""
    sides = [min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis]) for axis in (0, 1)]
    larger = max(one[2] - one[0], other[2] - other[0])
    return min(sides) > _MOST_SHARED * larger


def _jpeg(image: Image.Image, box: Box, rng: np.random.Generator) -> bytes:
    """Return the crop at `box`, mirrored with probability 0.5."""
    # Crop before resizing: resizing the whole would blend in pixels from outside the box.
    crop = image.crop(box).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    data = io.BytesIO()
    crop.save(data, "JPEG", quality=90)
    return data.getvalue()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), content)  # a plain ZipInfo has a fixed date
    return data.getvalue()
