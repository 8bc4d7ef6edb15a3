"""Damaged and hostile files: each ends in one of our errors or is left out, in bounded memory.

The damage is drawn from seeds, so a failure comes again; DSPT_FUZZ_SEEDS asks for more of it.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dataset_files import encoded, noise, two_classes, write_zip
from PIL import Image

from dspt.data import Limits, decode_image, load_dataset
from dspt.data.images import check_image
from dspt.errors import DatasetError, ImageError, Problem

SEEDS = int(os.environ.get("DSPT_FUZZ_SEEDS", "40"))
MAX_GROWTH_BYTES = 600 * 1024 * 1024

Damage = Callable[[bytearray, np.random.Generator], None]


def flip_bits(data: bytearray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 10))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def flip_header(data: bytearray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        data[int(rng.integers(min(64, len(data))))] = int(rng.integers(256))


def flip_end(data: bytearray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        data[-1 - int(rng.integers(min(400, len(data))))] = int(rng.integers(256))


def extreme_numbers(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(max(1, len(data) - 4)))
    data[at : at + 4] = [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\x7f",
    ][int(rng.integers(4))]


def cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data))) :]


def drop_middle(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.integers(1, 60))]


def repeat_part(data: bytearray, rng: np.random.Generator) -> None:
    start, end = sorted(int(x) for x in rng.integers(len(data), size=2))
    data[end:end] = data[start:end]


DAMAGE: list[Damage] = [
    flip_bits,
    flip_header,
    flip_end,
    extreme_numbers,
    cut,
    drop_middle,
    repeat_part,
]


def sample_images() -> dict[str, bytes]:
    image, exif = noise(1, (40, 30)), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    deep = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    floats = Image.fromarray(np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40))
    frames = [noise(i, (40, 30)) for i in range(3)]
    palette = image.quantize(32)
    return {
        "jpeg": encoded(image, "JPEG", exif=exif),
        "progressive": encoded(image, "JPEG", progressive=True),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "mpo": encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]),
        "png": encoded(image, exif=exif),
        "png palette": encoded(palette, transparency=b"\x10\x20"),
        "png 16": encoded(deep),
        "apng": encoded(frames[0], save_all=True, append_images=frames[1:]),
        "gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "bmp": encoded(image, "BMP"),
        "bmp palette": encoded(palette, "BMP"),
        "webp": encoded(image, "WEBP", exif=exif),
        "webp lossless": encoded(image.convert("RGBA"), "WEBP", lossless=True),
        "webp frames": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "avif": encoded(image, "AVIF", exif=exif),
        "heic": (Path(__file__).parents[1] / "cutout.heic").read_bytes(),
        "tiff": encoded(image, "TIFF", exif=exif),
        "tiff lzw": encoded(image, "TIFF", compression="tiff_lzw"),
        "tiff deflate": encoded(deep, "TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": encoded(image, "TIFF", compression="jpeg"),
        "tiff float": encoded(floats, "TIFF"),
        "tiff g4": encoded(image.convert("1"), "TIFF", compression="group4"),
    }


IMAGES = sample_images()


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@pytest.mark.parametrize("kind", IMAGES)
def test_damaged_images(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert why_rejected(decode_image, IMAGES[kind]) is None
    before, rejected = peak_bytes(), 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        data = bytearray(IMAGES[kind])
        DAMAGE[seed % len(DAMAGE)](data, rng)
        reason = why_rejected(decode_image, bytes(data))
        # the check of the data set and the decoding that comes later must agree
        assert why_rejected(check_image, bytes(data)) == reason, seed
        rejected += reason is not None
    assert rejected > 0
    assert peak_bytes() - before < MAX_GROWTH_BYTES
    if not kind.startswith("tiff"):  # libtiff itself writes its complaints to stderr
        assert capfd.readouterr() == ("", "")


def why_rejected(read: Callable[..., object], data: bytes) -> str | None:
    try:
        read(data, max_pixels=4_000_000)
    except ImageError as error:
        return error.message
    return None


def problems_of(path: Path) -> tuple[Problem, ...]:
    try:
        with load_dataset(path, limits=Limits(max_pixels=4_000_000)) as data:
            assert all(item.label < len(data.classes) for item in data.items)
    except DatasetError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_zips(tmp_path: Path, damage: Damage, method: int) -> None:
    kinds = ("jpeg", "png", "gif", "webp frames", "heic", "tiff lzw")
    images = {f"test/b/{kind}": IMAGES[kind] for kind in kinds}
    train = {f"train/{n[0]}/{n[4:]}": d for n, d in two_classes().items()}
    train |= {n.replace("test/b", "train/b"): d for n, d in images.items()}
    whole = write_zip(tmp_path / "whole.zip", train | images, method).read_bytes()
    path = tmp_path / "data.zip"
    before, refused = peak_bytes(), 0
    for seed in range(SEEDS):
        data = bytearray(whole)
        damage(data, np.random.default_rng(seed))
        path.write_bytes(data)
        problems = problems_of(path)
        assert all(p.code and p.message and p.where.isprintable() for p in problems)
        refused += bool(problems)
    assert refused < SEEDS or damage in (cut, drop_middle, repeat_part)
    assert peak_bytes() - before < MAX_GROWTH_BYTES


def test_damaged_tables(tmp_path: Path) -> None:
    table = b"file,label,split\n" + b"".join(
        f'{n},"{n[:3]}",train\n'.encode() for n in two_classes()
    )
    refused = 0
    for seed in range(SEEDS * 2):
        data = bytearray(table)
        DAMAGE[seed % len(DAMAGE)](data, np.random.default_rng(seed))
        files = two_classes() | {"labels.csv": bytes(data)}
        problems = problems_of(write_zip(tmp_path / "data.zip", files))
        assert all(p.where.isprintable() for p in problems)
        refused += bool(problems)
    assert refused > SEEDS // 2


def test_random_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    starts = [b"", b"PK\x03\x04", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"RIFF", b"BM"]
    for seed in range(SEEDS * 2):
        rng = np.random.default_rng(seed)
        data = starts[seed % len(starts)] + rng.bytes(int(rng.integers(1, 3000)))
        path.write_bytes(data)
        with pytest.raises(DatasetError):
            load_dataset(path)
        with pytest.raises(ImageError):
            decode_image(data)
