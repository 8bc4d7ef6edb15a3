"""Tiny data sets in the layouts that the benchmark reads: a class is a colour."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red_fox": (200, 40, 30), "tree-frog": (30, 190, 50), "blue jay": (40, 50, 210)}
CLASSES = sorted(COLOURS)  # as folders are sorted


def write_image(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(colour, 25, (12, 12, 3)).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_class_folders(
    root: Path, *, train: int = 8, test: int = 4, held_out: str = "test"
) -> Path:
    """<root>/train/<class>/ and <root>/<held_out>/<class>/, so many images in each class."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        for part, count in (("train", train), (held_out, test)):
            for i in range(count):
                seed = 1000 * number + 100 * (part == "train") + i
                write_image(root / part / name / f"{i}.png", colour, seed)
    return root


def write_coop_set(
    root: Path, name: str, images: str, *, train: int = 6, test: int = 3, prefix: str = ""
) -> Path:
    """<root>/split_zhou_<name>.json with its images below <root>/<images>/<prefix>."""
    split: dict[str, list[list[object]]] = {"train": [], "val": [], "test": []}
    for label, (words, colour) in enumerate(COLOURS.items()):
        for part, count in (("train", train), ("val", 1), ("test", test)):
            for i in range(count):
                file = f"{prefix}{words}/{part}_{i}.jpg"
                write_image(root / images / file, colour, 100 * label + 10 * len(part) + i)
                split[part].append([file, label, words])
    (root / f"split_zhou_{name}.json").write_text(json.dumps(split))
    return root


def write_aircraft(root: Path) -> Path:
    """FGVCAircraft's lists: variants.txt and images_variant_<part>.txt."""
    names = ["707-320", "Cessna 172"]
    root.mkdir(parents=True, exist_ok=True)
    (root / "variants.txt").write_text("".join(f"{name}\n" for name in names))
    for part, count in (("train", 3), ("val", 1), ("test", 2)):
        lines = []
        for label, name in enumerate(names):
            for i in range(count):
                image = f"{len(part)}{label}{i}"
                write_image(root / "images" / f"{image}.jpg", (90 * label, 90, 90), i)
                lines.append(f"{image} {name}\n")
        (root / f"images_variant_{part}.txt").write_text("".join(lines))
    return root
