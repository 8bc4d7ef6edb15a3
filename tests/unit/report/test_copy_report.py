"""Copies of photos as they are reported: counts, examples, accuracy with and without."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from dspt.data import Dataset
from dspt.data.dataset import Item
from dspt.report.copies import CopyReport


def dataset(*paths: str) -> Dataset:
    """Items of paths such as `train/cat/1.jpg`."""
    classes = tuple(sorted({path.split("/")[1] for path in paths}))
    items = tuple(
        Item(path, classes.index(path.split("/")[1]), cast(Any, path.split("/")[0]))
        for path in paths
    )
    hashes = ("",) * len(items)
    return Dataset(classes, classes, items, hashes, (), (), "0" * 64, cast(Any, None))


def test_a_data_set_without_copies() -> None:
    report = CopyReport.of(dataset("train/cat/1", "train/dog/1"), np.arange(2))
    assert (report.photos, report.copies) == (2, 0)
    assert report.findings() == []


def test_copies_in_one_class() -> None:
    data = dataset("train/cat/1", "train/cat/2", "train/cat/3", "train/dog/1")
    report = CopyReport.of(data, np.array([0, 1, 0, 3]))
    assert (report.photos, report.copies) == (3, 1)
    assert report.in_class == (("train/cat/1", "train/cat/3"),)
    (found,) = report.findings()
    assert "1 photo is in the data set more than once" in found.text
    assert found.text.endswith(": train/cat/1, train/cat/3")
    assert [(each.file, each.note) for each in found.files] == [
        ("train/cat/1", ""),
        ("train/cat/3", "same photo as train/cat/1"),
    ]


def test_copies_in_several_classes_are_a_wrong_label() -> None:
    data = dataset("train/cat/1", "train/cat/2", "train/dog/1", "train/dog/2")
    report = CopyReport.of(data, np.array([0, 1, 0, 1]))
    assert report.across_classes == (
        ("train/cat/1", "train/dog/1"),
        ("train/cat/2", "train/dog/2"),
    )
    (found,) = report.findings()
    assert (
        "2 photos are in several classes, so a label is wrong: train/cat/1, train/dog/1;"
        in found.text
    )


def test_copies_in_training_and_test() -> None:
    data = dataset("train/cat/1", "train/cat/2", "test/cat/1", "train/dog/1")
    report = CopyReport.of(data, np.array([0, 1, 0, 3]))
    assert report.across_splits == (("train/cat/1", "test/cat/1"),)
    assert report.in_class == ()
    (found,) = report.findings(leaked=1, accuracies=(0.5, 0.75))
    assert "1 image is not measured" in found.text
    assert "(accuracy 50.0% without them, 75.0% with them)" in found.text
    metrics = report.to_dict(leaked=1, accuracy_with_leaked=0.75)
    assert (metrics["leaked"], metrics["accuracy_with_leaked"]) == (1, 0.75)
    assert metrics["n_across_splits"] == 1


def test_a_class_of_one_photo_is_named() -> None:
    data = dataset("train/cat/1", "train/cat/2", "train/dog/1", "train/dog/2")
    report = CopyReport.of(data, np.array([0, 0, 2, 3]))
    assert report.single_photo == ("cat",)
    assert report.findings()[-1].text.startswith(
        "cat has copies of a single photo; add more images"
    )


def test_many_groups_are_counted_with_three_examples() -> None:
    data = dataset(*(f"train/cat/{i}" for i in range(210)), "train/dog/1")
    report = CopyReport.of(data, np.arange(211) // 2 * 2)
    (found,) = report.findings()
    assert "105 photos are" in found.text
    assert "train/cat/4, train/cat/5; and 102 more" in found.text
    assert len(report.to_dict(leaked=0, accuracy_with_leaked=None)["in_class"]) == 100
