from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noise_sets import (
    CLASSES,
    COLOURS,
    write_aircraft,
    write_class_folders,
    write_coop_set,
    write_image,
)

from benchmarks.noise_robustness.coop import IMAGE_FOLDERS, is_coop_set, read_coop_set
from benchmarks.noise_robustness.datasets import is_set, open_set
from benchmarks.skeleton.data_sets import find_sets, set_name
from dspt.data import read_image
from dspt.errors import DatasetError


@pytest.mark.parametrize(("name", "images"), IMAGE_FOLDERS.items())
def test_every_set_of_coop_is_read_from_its_own_image_folder(
    tmp_path: Path, name: str, images: str
) -> None:
    prefix = "cars_train/" if name == "StanfordCars" else ""
    folder = write_coop_set(tmp_path / "a set", name, images, prefix=prefix)
    listing = open_set(folder)
    assert listing.name == "a set"
    assert listing.class_words == ("red fox", "tree-frog", "blue jay")
    train, test = listing.rows("train"), listing.rows("test")
    assert listing.labels(train).tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert listing.labels(test).tolist() == [0] * 3 + [1] * 3 + [2] * 3
    part = listing.read(test)
    assert [item.split for item in part.items] == ["test"] * 9
    assert len(set(part.hashes)) == 9
    for item in part.items:  # the photo behind a path is the one that its label says
        mean = np.asarray(read_image(part, item)).mean((0, 1))
        expected = list(COLOURS.values())[item.label]
        assert np.abs(mean - expected).max() < 30


def test_aircraft_is_read_from_its_own_lists(tmp_path: Path) -> None:
    listing = open_set(write_aircraft(tmp_path / "fgvc_aircraft"))
    assert listing.class_words == ("707-320", "Cessna 172")
    assert listing.labels(listing.rows("train")).tolist() == [0, 0, 0, 1, 1, 1]
    assert listing.labels(listing.rows("test")).tolist() == [0, 0, 1, 1]
    assert len(listing.read(listing.rows("train")).items) == 6


def test_a_folder_of_sets_is_all_of_them(tmp_path: Path) -> None:
    write_coop_set(tmp_path / "eurosat", "EuroSAT", "2750")
    write_aircraft(tmp_path / "fgvc_aircraft")
    write_image(tmp_path / "imagenet" / "images" / "train" / "n1" / "1.jpg", (1, 2, 3), 1)
    photos = write_class_folders(tmp_path / "photos")
    found = {name: tmp_path / name for name in ("eurosat", "fgvc_aircraft", "photos")}
    assert find_sets([tmp_path], is_set) == found
    for name, path in found.items():
        assert find_sets([path], is_set) == {name: path}
    with pytest.raises(DatasetError, match="no such file or folder"):
        find_sets([tmp_path / "nowhere"], is_set)
    with pytest.raises(DatasetError, match="two data sets are named 'photos'"):
        find_sets([tmp_path, photos], is_set)


def split(folder: Path, **change: Any) -> Path:
    path = folder / "split_zhou_EuroSAT.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": None}, "train: Input should be a valid array"),
        ({"test": []}, "3 classes without a test image, such as 'red_fox'"),
        ({"test": [["a.jpg", "0", "x"]]}, "test.0.1: Input should be a valid integer"),
        ({"test": [["../a.jpg", 0, "red_fox"]]}, r"leaves the folder"),
        ({"test": [["a.jpg", 0, "dog"]]}, "class 0 has the names 'red_fox' and 'dog'"),
        ({"test": [["a.jpg", 0, "red_fox"]] * 2}, "'a.jpg' is listed twice"),
        ({"test": [["a.jpg", 4, "dog"]]}, "labels must run from 0 without gaps"),
    ],
)
def test_lists_at_fault_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = split(write_coop_set(tmp_path / "eurosat", "EuroSAT", "2750"), **change)
    with pytest.raises(DatasetError, match=f"split_zhou_EuroSAT.json: .*{message}"):
        read_coop_set(folder)


def test_lists_that_cannot_be_chosen_or_read_are_named(tmp_path: Path) -> None:
    folder = write_coop_set(tmp_path / "eurosat", "EuroSAT", "2750")
    (folder / "split_zhou_EuroSAT.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_coop_set(folder)
    (folder / "split_zhou_DescribableTextures.json").write_text("{}")
    with pytest.raises(DatasetError, match="has 2 files"):
        read_coop_set(folder)
    other = write_coop_set(tmp_path / "mine", "Mine", "images")
    assert is_coop_set(other)
    with pytest.raises(DatasetError, match="unknown data set 'Mine' in CoOp's layout"):
        read_coop_set(other)
    plane = write_aircraft(tmp_path / "fgvc_aircraft")
    (plane / "images_variant_test.txt").write_text("0001 Concorde\n")
    with pytest.raises(DatasetError, match=r"line 1: 'Concorde' is not in variants\.txt"):
        read_coop_set(plane)


def test_images_that_are_missing_or_damaged_are_named_when_they_are_read(tmp_path: Path) -> None:
    folder = write_coop_set(tmp_path / "dtd", "DescribableTextures", "images")
    (folder / "images" / "red_fox" / "test_0.jpg").unlink()
    (folder / "images" / "red_fox" / "train_1.jpg").write_bytes(b"no photo")
    listing = open_set(folder)
    with pytest.raises(DatasetError) as caught:
        listing.read(np.concatenate([listing.rows("train"), listing.rows("test")]))
    assert [problem.where for problem in caught.value.problems] == [
        "dtd: images/red_fox/train_1.jpg",
        "dtd: images/red_fox/test_0.jpg",
    ]


def test_class_folders_with_a_test_part(tmp_path: Path) -> None:
    listing = open_set(write_class_folders(tmp_path / "photos.v2"))
    assert listing.name == set_name(tmp_path / "photos.v2") == "photos.v2"
    assert listing.classes == tuple(CLASSES) == ("blue jay", "red_fox", "tree-frog")
    assert listing.class_words == ("blue jay", "red fox", "tree frog")
    assert len(listing.rows("train")) == 24
    assert len(listing.rows("test")) == 12
    assert listing.items[listing.rows("test")[0]].path == "test/blue jay/0.png"


def test_val_stands_in_for_test_and_one_of_them_is_needed(tmp_path: Path) -> None:
    listing = open_set(write_class_folders(tmp_path / "photos", held_out="val"))
    assert len(listing.rows("test")) == 12
    write_class_folders(tmp_path / "more" / "train", train=2, test=0)
    with pytest.raises(DatasetError, match=r"has no test/ \(or val/\) folder"):
        open_set(tmp_path / "more" / "train" / "train")
