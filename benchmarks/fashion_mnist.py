"""`python -m benchmarks.fashion_mnist DIR`: Fashion-MNIST (Xiao et al., 2017) as class folders.

Reads the files of Debian's package dataset-fashion-mnist. The images (28 x 28, grey) are enlarged
to 64 x 64, as smaller ones are refused.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.skeleton.options import add, positive

SOURCE = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
PARTS = {"train": "train", "test": "t10k"}
_SIDE = 28
_ENLARGED = 64
_IMAGE_HEADER, _LABEL_HEADER = 16, 8


def write(source: Path, out: Path, counts: dict[str, int]) -> None:
    """Write counts[part] random images of each class to `out`/part/class."""
    rng = np.random.default_rng(0)
    for part, file in PARTS.items():
        images = _read(source / f"{file}-images-idx3-ubyte.gz", _IMAGE_HEADER)
        images = images.reshape(-1, _SIDE, _SIDE)
        labels = _read(source / f"{file}-labels-idx1-ubyte.gz", _LABEL_HEADER)
        for label, name in enumerate(CLASSES):
            folder = out / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for row in rng.permutation(np.flatnonzero(labels == label))[: counts[part]]:
                image = Image.fromarray(images[row]).convert("RGB")
                image.resize((_ENLARGED, _ENLARGED)).save(folder / f"{row:05}.png")


def _read(path: Path, header: int) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fashion_mnist")
    parser.add_argument("out", type=Path, metavar="DIR")
    parser.add_argument("--source", type=Path, default=SOURCE, metavar="DIR")
    for part, count in (("--train", 32), ("--test", 100)):
        add(parser, part, count, "images of each class", type=positive, metavar="N")
    options = parser.parse_args(arguments)
    write(options.source, options.out, {"train": options.train, "test": options.test})


if __name__ == "__main__":
    main()
