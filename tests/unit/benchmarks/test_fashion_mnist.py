"""Fashion-MNIST as class folders, from files of the same format made up here."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.fashion_mnist import CLASSES, PARTS, main


def test_writes_images_into_the_folders_of_their_classes(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    labels = np.arange(30, dtype=np.uint8) % 10
    images = np.full((30, 28, 28), 10, np.uint8) * labels[:, None, None]
    for name in PARTS.values():
        for kind, header, array in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            data = bytes(header) + array.tobytes()
            (source / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))
    main([str(out), "--source", str(source), "--train", "2", "--test", "3"])
    for part, count in (("train", 2), ("test", 3)):
        for label, name in enumerate(CLASSES):
            files = sorted((out / part / name).iterdir())
            assert len(files) == count
            for file in files:
                assert int(file.stem) % 10 == label
                with Image.open(file) as image:
                    assert (image.size, image.mode) == ((64, 64), "RGB")
                    assert image.getpixel((5, 5)) == (10 * label,) * 3
