"""Photos without labels: found, checked, counted, and never a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import jpeg, two_classes, write_folder, write_zip

from dspt.data import Limits, load_dataset
from dspt.data.copies import new_photos
from dspt.data.photos import open_photos
from dspt.errors import DatasetError
from dspt.labels.corrections import Corrections

MORE = {"unlabelled/a.jpg": jpeg(70), "unlabelled/deep/b.jpg": jpeg(71)}


def test_they_are_read_beside_the_classes(tmp_path: Path) -> None:
    with (
        load_dataset(write_zip(tmp_path / "plain.zip", two_classes())) as plain,
        load_dataset(write_zip(tmp_path / "more.zip", two_classes() | MORE)) as data,
        load_dataset(write_folder(tmp_path / "folder", two_classes() | MORE)) as folder,
    ):
        assert (data.classes, data.items) == (plain.classes, plain.items)
        assert [item.path for item in data.unlabelled] == list(MORE)
        assert data.warnings == ("2 photos are in unlabelled/ and read without labels",)
        assert (data.to_dict()["unlabelled"], plain.to_dict()["unlabelled"]) == (2, 0)
        assert len({plain.sha256, data.sha256}) == 2
        assert folder.sha256 == data.sha256
        assert data.with_unlabelled().hashes == (*data.hashes, *data.unlabelled_hashes)
        relabelled = Corrections(relabel={"cat/0.jpg": "dog"}).apply(data)
        assert relabelled.unlabelled == data.unlabelled


def test_a_table_decides_about_the_files_that_it_names(tmp_path: Path) -> None:
    table = b"file,label\nphotos/1.jpg,cat\nphotos/2.jpg,dog\nunlabelled/a.jpg,dog\n"
    files = {"labels.csv": table, "photos/1.jpg": jpeg(1), "photos/2.jpg": jpeg(2)} | MORE
    with load_dataset(write_zip(tmp_path / "a.zip", files)) as data:
        assert [item.path for item in data.unlabelled] == ["unlabelled/deep/b.jpg"]
        assert len(data.items) == 3
        assert not data.rejected


def test_bad_files_are_rejected_and_limits_hold(tmp_path: Path) -> None:
    bad = {"unlabelled/x.jpg": b"not an image", "unlabelled/notes.txt": b"hello"}
    path = write_zip(tmp_path / "a.zip", two_classes() | MORE | bad)
    with load_dataset(path) as data:
        assert len(data.unlabelled) == 2
        assert {found.file for found in data.rejected} == set(bad)
    with pytest.raises(DatasetError, match="more than 7 files"):
        load_dataset(path, limits=Limits(max_files=7))


def test_they_are_no_data_set_of_their_own(tmp_path: Path) -> None:
    for folder in ("unlabelled", "unlabelled/a"):
        path = write_zip(tmp_path / "a.zip", {f"{folder}/{n}.jpg": jpeg(n) for n in range(3)})
        with pytest.raises(DatasetError) as found:
            load_dataset(path)
        (problem,) = found.value.problems
        assert (problem.code, problem.message) == (
            "no_classes",
            "all photos are without labels; add class folders with labelled photos",
        )


def test_they_can_be_added_later(tmp_path: Path) -> None:
    base = write_zip(tmp_path / "base.zip", two_classes() | MORE)
    added = [write_zip(tmp_path / "more.zip", {"unlabelled/a.jpg": jpeg(72)})]
    with open_photos(base) as before, open_photos(base, added=added) as after:
        assert (before.unlabelled, after.unlabelled) == (2, 3)
        assert after.photos == before.photos
    with load_dataset(base, added=added) as data:
        assert [i.path for i in data.unlabelled] == [*MORE, "unlabelled/a (2).jpg"]
        assert data.source.read("unlabelled/a (2).jpg") == jpeg(72)


def test_copies_of_other_photos_are_not_new() -> None:
    groups = np.array([0, 1, 0, 3, 1, 5, 3, 5])
    assert new_photos(groups, 4).tolist() == [5]
    assert new_photos(groups, 0).tolist() == [0, 1, 3, 5]
