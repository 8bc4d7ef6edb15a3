"""The demo's data set: real photographs, no leak between its parts, and known wrong labels."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from importlib.metadata import files as files_of_distribution
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from app.datasets.demo_photos import (
    GAP,
    PHOTOGRAPHS,
    SIDE,
    TEST_CROPS,
    TRAIN_CROPS,
    UNSEEN_CROPS,
    DemoData,
    Photograph,
    make_demo_data,
    parts,
    photo_path,
    random_boxes,
)
from dspt.data import load_dataset
from scripts.demo.photos import photos

FOLDERS = [photograph.folder for photograph in PHOTOGRAPHS]


@pytest.fixture(scope="module")
def demo() -> DemoData:
    return make_demo_data(seed=1)


def names(demo: DemoData) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(demo.zip)) as archive:
        return archive.namelist()


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=FOLDERS)
def test_each_photograph_is_in_the_wheel_and_has_a_licence(photograph: Photograph) -> None:
    shipped = {str(path) for path in files_of_distribution("scikit-image") or ()}
    assert f"skimage/data/{photograph.file}" in shipped
    assert photograph.licence
    assert photograph.source


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=FOLDERS)
def test_training_and_test_crops_share_no_pixel(photograph: Photograph) -> None:
    with Image.open(photo_path(photograph)) as image:
        width, height = image.size
    train_part, test_part = parts((width, height))
    rng = np.random.default_rng(0)
    covered = {}
    for name, part in (("train", train_part), ("test", test_part)):
        mask = np.zeros((height, width), dtype=bool)
        for left, top, right, bottom in random_boxes(part, 24, rng):
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            assert right - left == bottom - top
            mask[top:bottom, left:right] = True
        covered[name] = mask
    assert not (covered["train"] & covered["test"]).any()
    untouched = ~(covered["train"] | covered["test"]).any(axis=0)
    assert untouched.sum() >= GAP * width - 1
    # and most of each part is used
    assert covered["train"].mean() > 0.4
    assert covered["test"].mean() > 0.4


def test_the_zip_holds_the_stated_numbers_of_decodable_jpegs(demo: DemoData) -> None:
    split = Counter(name.split("/")[0] for name in names(demo))
    assert split == {
        "train": TRAIN_CROPS * len(PHOTOGRAPHS),
        "test": TEST_CROPS * len(PHOTOGRAPHS),
    }
    assert len(demo.unseen) == UNSEEN_CROPS * len(PHOTOGRAPHS)
    with zipfile.ZipFile(io.BytesIO(demo.zip)) as archive:
        for name in archive.namelist():
            with Image.open(archive.open(name)) as image:
                assert (image.format, image.size, image.mode) == ("JPEG", (SIDE, SIDE), "RGB")


def test_wrong_labels_are_planted_in_the_training_part_alone(demo: DemoData) -> None:
    total = TRAIN_CROPS * len(PHOTOGRAPHS)
    assert len(demo.planted) == int(0.3 * total) == 57
    for name, truth in demo.planted.items():
        split, label, _ = name.split("/")
        assert split == "train"
        assert truth in FOLDERS
        assert label != truth
    assert set(demo.planted) <= set(names(demo))


def test_the_planted_list_is_the_truth(demo: DemoData) -> None:
    """With the planted labels corrected, every class has only its own crops again."""
    truth = Counter(
        demo.planted.get(name, name.split("/")[1])
        for name in names(demo)
        if name.startswith("train/")
    )
    assert truth == dict.fromkeys(FOLDERS, TRAIN_CROPS)
    test = Counter(name.split("/")[1] for name in names(demo) if name.startswith("test/"))
    assert test == dict.fromkeys(FOLDERS, TEST_CROPS)


def test_a_colour_photograph_under_a_grey_class_is_a_planted_one(demo: DemoData) -> None:
    """A check of the pixels that does not go by names: the brick wall is a grey photograph."""
    with zipfile.ZipFile(io.BytesIO(demo.zip)) as archive:
        for name in archive.namelist():
            if name.startswith("train/brick/"):
                pixels = np.asarray(Image.open(archive.open(name)), dtype=int)
                if np.ptp(pixels, axis=2).max() > 10:
                    assert name in demo.planted


def test_no_two_images_are_the_same(demo: DemoData) -> None:
    with zipfile.ZipFile(io.BytesIO(demo.zip)) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    contents += [image.jpeg for image in demo.unseen]
    assert len({hashlib.sha256(content).digest() for content in contents}) == len(contents)


def test_file_names_do_not_tell_the_true_class(demo: DemoData) -> None:
    train = sorted(
        (name.rsplit("/")[-1], demo.planted.get(name, name.split("/")[1]))
        for name in names(demo)
        if name.startswith("train/")
    )
    in_order = [truth for _, truth in train]
    same_as_next = sum(a == b for a, b in pairwise(in_order))
    assert same_as_next < len(in_order) / 4  # sorted by class it would be nearly all


def test_the_seed_decides_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRAIN_CROPS", "TEST_CROPS"):
        monkeypatch.setattr(f"app.datasets.demo_photos.{name}", 3)
    demo, again, other = (make_demo_data(seed=seed) for seed in (1, 1, 2))
    assert again == demo
    assert other.zip != demo.zip
    assert other.planted != demo.planted


def test_the_service_reads_it_without_complaint(demo: DemoData, tmp_path: Path) -> None:
    path = tmp_path / "demo.zip"
    path.write_bytes(demo.zip)
    with load_dataset(path) as dataset:
        assert dataset.classes == tuple(FOLDERS)
        assert dataset.class_words == tuple(FOLDERS)
        assert dataset.rejected == ()
        assert dataset.warnings == ()
        assert {i.path for i in dataset.of_split("train")} >= set(demo.planted)


def test_help_writes_no_photographs(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(photos)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        shown = CliRunner().invoke(app, ["--help"])
        refused = CliRunner().invoke(app, ["--out", "x"])
    assert shown.exit_code == 0
    assert "Folder to write to" in shown.output
    assert refused.exit_code == 2
    assert not list(tmp_path.iterdir())
