"""Small images, folders and zips for the tests of dspt.data, and what comes of them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dspt.data import Limits, decode_image, load_dataset
from dspt.data.images import check_image
from dspt.errors import DatasetError, Problem

Files = Mapping[str, bytes]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def pixels(data: bytes) -> np.ndarray:
    """(H, W, 3) of the decoded image, after the quick check has passed too."""
    check_image(data)
    image = decode_image(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def png_chunks(
    width: int, height: int, *, depth: int = 8, colour: int = 2, body: bytes = b""
) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(seed: int) -> bytes:
    return encoded(noise(seed), "JPEG", quality=90)


def two_classes(n: int = 2) -> dict[str, bytes]:
    """`cat/` and `dog/` with n images each, all different."""
    return {
        f"{c}/{i}.jpg": jpeg(100 * k + i) for k, c in enumerate(("cat", "dog")) for i in range(n)
    }


def write_zip(path: Path, files: Files, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folder(path: Path, files: Files) -> Path:
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def refused(path: Path, limits: Limits | None = None) -> tuple[Problem, ...]:
    """What `load_dataset` finds wrong; it must find something."""
    with pytest.raises(DatasetError) as caught:
        load_dataset(path, limits=limits)
    assert caught.value.code == caught.value.problems[0].code
    return caught.value.problems


def only(path: Path, limits: Limits | None = None) -> Problem:
    (problem,) = refused(path, limits)
    return problem


def patched(path: Path, old: bytes, new: bytes, count: int = -1) -> Path:
    data = path.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new, count))
    return path
