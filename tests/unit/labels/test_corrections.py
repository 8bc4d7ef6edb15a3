"""Corrections on a data set: what they change, that nothing is encoded again, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from dataset_files import jpeg, write_zip
from torch import Tensor, nn

from dspt.backbones.base import Backbone
from dspt.data import Dataset, load_dataset
from dspt.errors import DatasetError
from dspt.features.encode import encode_images
from dspt.features.store import FeatureStore
from dspt.labels.corrections import Corrections
from tests.photographs import write_photographs

CLASSES = ("cat", "coffee", "moon")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photos"), CLASSES, train=4, test=2, seed=4)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Iterator[Dataset]:
    with load_dataset(folder) as opened:
        yield opened


def refused(
    corrections: Corrections, dataset: Dataset, *, may_change_nothing: bool = False
) -> list[tuple[str, str, str]]:
    with pytest.raises(DatasetError) as caught:
        corrections.apply(dataset, may_change_nothing=may_change_nothing)
    return [(p.where, p.code, p.message) for p in caught.value.problems]


def test_the_corrected_set_is_the_one_that_a_person_would_have_sorted(
    folder: Path, dataset: Dataset
) -> None:
    corrections = Corrections.of(
        {"train/cat/0.png": "moon", "train/moon/2.png": "coffee"}, ["train/cat/3.png"]
    )
    corrected = corrections.apply(dataset)
    labels = {item.path: CLASSES[item.label] for item in corrected.items}
    expected = {item.path: CLASSES[item.label] for item in dataset.items}
    del expected["train/cat/3.png"]
    expected |= {"train/cat/0.png": "moon", "train/moon/2.png": "coffee"}
    assert labels == expected
    assert list(labels) == [i.path for i in dataset.items if i.path != "train/cat/3.png"]
    for item, sha256 in zip(corrected.items, corrected.hashes, strict=True):
        assert sha256 == hashlib.sha256((folder / item.path).read_bytes()).hexdigest()

    # The digest as dspt.data states it: over path, class, part and content.
    parts = {i.path: i.split for i in corrected.items}
    lines = "".join(
        f"{path}\0{label}\0{parts[path]}\0{sha256}\n"
        for (path, label), sha256 in sorted(zip(labels.items(), corrected.hashes, strict=True))
    )
    assert corrected.sha256 == hashlib.sha256(lines.encode()).hexdigest() != dataset.sha256
    assert corrected.classes == dataset.classes
    assert corrected.source is dataset.source
    # What it was made from stays as it is.
    assert {item.path: CLASSES[item.label] for item in dataset.items} != labels


class Counting(nn.Module):
    """An image tower that counts the images it encodes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, width)
        self.images = 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.images += len(pixels)
        out: Tensor = self.linear(pixels.mean((2, 3)))
        return out


def test_only_what_is_new_is_encoded(
    folder: Path, dataset: Dataset, builtin: Backbone, tmp_path: Path
) -> None:
    tower = Counting(builtin.embed_dim)
    changes = {"image_tower": tower, "digest": "1" * 64, "penultimate_dim": 0}
    backbone = dataclasses.replace(builtin, **changes)
    store = FeatureStore(tmp_path, on_failure=pytest.fail)
    before = encode_images(backbone, dataset, augment_views=1, store=store)
    assert tower.images == 12 * 2 + 6
    corrected = Corrections.of({"train/cat/0.png": "moon"}, ["train/cat/3.png"]).apply(dataset)
    tower.images = 0
    after = encode_images(backbone, corrected, augment_views=1, store=store)
    assert tower.images == 0
    kept = [row for row, i in enumerate(dataset.items) if i.path != "train/cat/3.png"]
    assert torch.equal(after, before[kept])

    new = write_zip(tmp_path / "new.zip", {"cat/0.jpg": jpeg(1), "moon/0.jpg": jpeg(2)})
    with load_dataset(folder, added=[new]) as more:
        after = encode_images(backbone, more, augment_views=1, store=store)
        assert tower.images == 2 * 2
        old = [row for row, item in enumerate(more.items) if item in dataset.items]
        assert torch.equal(after[old], before)
        assert len(more.items) == len(old) + 2


def test_corrections_add_up(dataset: Dataset) -> None:
    first = Corrections.of({"train/cat/0.png": "moon", "train/cat/1.png": "moon"})
    second = Corrections.of({"train/cat/0.png": "coffee"}, ["train/cat/1.png"])
    both = second.on_top_of(first)
    assert both == Corrections.of({"train/cat/0.png": "coffee"}, ["train/cat/1.png"])
    assert both.apply(dataset).sha256 == second.apply(first.apply(dataset)).sha256
    assert Corrections.from_dict(both.to_dict()) == both

    kept = Corrections.of({"train/cat/1.png": "moon"}).on_top_of(both)
    assert kept.drop == frozenset()

    back = Corrections.of({"train/cat/0.png": "cat", "train/cat/1.png": "cat"}).on_top_of(first)
    assert back.apply(dataset, may_change_nothing=True).sha256 == dataset.sha256


def test_what_is_so_already_does_not_count(dataset: Dataset) -> None:
    confirming = Corrections.of({"train/cat/0.png": "cat"}, keep=["train/moon/1.png"])
    confirmed = confirming.apply(dataset)
    for corrections, to in ((confirming, confirmed), (Corrections(), dataset)):
        ((where, code, message),) = refused(corrections, to)
        assert (where, code) == ("", "nothing_changed")
        assert "relabel at least one file to another class" in message
    again = confirming.apply(confirmed, may_change_nothing=True)
    assert (again.items, again.confirmed) == (dataset.items, confirmed.confirmed)


def test_confirmed_labels_are_remembered_through_a_chain_of_corrections(dataset: Dataset) -> None:
    given = {i.path: CLASSES[i.label] for i in dataset.items if i.split == "train"}
    first = Corrections.of(
        {"train/cat/0.png": "cat", "train/cat/1.png": "moon"}, keep=["train/cat/2.png"]
    )
    assert first.checked(CLASSES, given) == Corrections.of(
        {"train/cat/1.png": "moon"}, keep=["train/cat/0.png", "train/cat/2.png"]
    )
    corrected = first.apply(dataset)
    assert corrected.confirmed == {f"train/cat/{i}.png" for i in range(3)}

    second = Corrections.of(
        {"train/cat/0.png": "coffee"}, ["train/cat/2.png"], ["train/moon/3.png"]
    )
    both = second.on_top_of(first.checked(CLASSES, given))
    assert both == Corrections.of(
        {"train/cat/0.png": "coffee", "train/cat/1.png": "moon"},
        ["train/cat/2.png"],
        ["train/moon/3.png"],
    )
    assert Corrections.from_dict(both.to_dict()) == both
    one_by_one, at_once = second.apply(corrected), both.apply(dataset)
    assert one_by_one.sha256 == at_once.sha256
    expected = {"train/cat/0.png", "train/cat/1.png", "train/moon/3.png"}
    assert one_by_one.confirmed == at_once.confirmed == expected


def test_corrections_without_what_is_new_are_stored_as_before() -> None:
    stored = {"relabel": {"a": "cat"}, "drop": ["b"]}
    assert Corrections.from_dict(stored) == Corrections.of({"a": "cat"}, ["b"])
    assert Corrections.of({"a": "cat"}, ["b"]).to_dict() == stored


def test_a_class_can_be_new(dataset: Dataset) -> None:
    files = {f"train/cat/{i}.png": "lynx" for i in range(2)} | {"train/moon/0.png": "Red_Fox"}
    words = {"lynx": "spotted wild cat", "Red_Fox": None}
    first = Corrections.of(files, new_classes=words)
    corrected = first.apply(dataset)
    assert corrected.classes == (*CLASSES, "lynx", "Red_Fox")
    assert corrected.class_words == (*dataset.class_words, "spotted wild cat", "Red Fox")
    found = {i.path: corrected.classes[i.label] for i in corrected.items if i.path in files}
    assert found == files
    assert corrected.warnings[len(dataset.warnings) :] == (
        "lynx has no images in test, so it is not measured",
        "Red_Fox has a single image; add more images, the result depends on this single one",
        "Red_Fox has no images in test, so it is not measured",
    )
    # Later it is a class as any other, also for corrections that add up.
    second = Corrections.of({"train/cat/2.png": "lynx", "train/cat/0.png": "cat"})
    both = second.on_top_of(first)
    assert both.new_classes == words
    assert both.apply(dataset).sha256 == second.apply(corrected).sha256
    assert Corrections.from_dict(both.to_dict()) == both


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ("moon", "class_exists"),
        ("Moon", "class_exists"),
        ("", "invalid_class"),
        ("a/b", "invalid_class"),
        ("x" * 201, "invalid_class"),
        ("\u202e", "invalid_class"),
        ("12", "numeric_class"),
        ("lynx", "unused_class"),
    ],
)
def test_a_new_class_that_is_not_possible(dataset: Dataset, new: str, code: str) -> None:
    corrections = Corrections.of(
        {"train/cat/0.png": "moon" if code == "unused_class" else new}, new_classes={new: None}
    )
    assert code in [found for _, found, _ in refused(corrections, dataset)]


def test_words_of_a_new_class_differ_from_those_of_the_others(dataset: Dataset) -> None:
    corrections = Corrections.of({"train/cat/0.png": "lynx"}, new_classes={"lynx": "Moon"})
    ((_, code, _),) = refused(corrections, dataset)
    assert code == "same_class_words"


def test_all_problems_at_once(dataset: Dataset) -> None:
    corrections = Corrections.of(
        {
            "cat/0.png": "moon",
            "3.png": "moon",
            "train/moon/nine.png": "moon",
            "test/cat/1.png": "moon",
            "train/cat/0.png": "mooon",
            "train/cat/1.png": "dog",
            "train/coffee/0.png": "cat",
        },
        [*(f"train/coffee/{i}.png" for i in range(4)), "../../etc/passwd"],
        ["train/coffee/1.png", "train/cat/1.png", "train/cat/2.png", "elsewhere.png"],
    )
    unknown = "there is no training image of this name; use the file names of the audit"
    held_out = (
        "this file is in val/ or test/, and only training files can be corrected; change the data "
        "set instead"
    )
    assert refused(corrections, dataset) == [
        ("cat/0.png", "unknown_file", unknown),
        ("3.png", "unknown_file", unknown),
        ("train/moon/nine.png", "unknown_file", unknown),
        ("test/cat/1.png", "held_out_file", held_out),
        ("../../etc/passwd", "unknown_file", unknown),
        ("elsewhere.png", "unknown_file", unknown),
        ("train/coffee/0.png", "relabelled_and_dropped", "relabel it or drop it, not both"),
        *(
            (file, "kept_and_changed", "keep it as it is, or relabel or drop it, not both")
            for file in ("train/cat/1.png", "train/coffee/1.png")
        ),
        ("train/cat/0.png", "unknown_class", "there is no class 'mooon'; did you mean 'moon'?"),
        (
            "train/cat/1.png",
            "unknown_class",
            "there is no class 'dog'; the classes are cat, coffee, moon. To add a class, write "
            "`new: dog` in a table, or list it in `new_classes` in JSON",
        ),
        (
            "coffee",
            "empty_class",
            "the corrections would remove all training images of this class; keep one, or remove "
            "the class from the data set",
        ),
    ]


def test_a_file_whose_folder_was_left_out_is_pointed_to() -> None:
    given = {"train/cat/tabby.png": "cat", "train/dog/rex.png": "dog", "train/dog/max.png": "dog"}
    with pytest.raises(DatasetError) as caught:
        Corrections.of({"tabby.png": "dog"}).checked(("cat", "dog"), given)
    (problem,) = caught.value.problems
    assert problem.message.endswith("did you mean 'train/cat/tabby.png'?")


def test_a_class_that_others_are_moved_into_is_not_empty() -> None:
    given = {"a/1": "a", "b/1": "b", "b/2": "b"}
    swapped = Corrections.of({"a/1": "b", "b/1": "a"})
    assert swapped.checked(("a", "b"), given) == swapped


def test_hostile_names_are_escaped_cut_and_counted() -> None:
    given = {"a/1": "a", "b/1": "b"}
    many = {f"\x1b[31m{i}{'x' * 5000}": "\u202e" * 5000 for i in range(5000)}
    with pytest.raises(DatasetError) as caught:
        Corrections.of(many).checked(("a", "b"), given)
    problems = caught.value.problems
    assert len(problems) == 2 * 100 + 2
    assert problems[-2:] == tuple(
        dataclasses.replace(problems[-1], code=code) for code in ("unknown_file", "unknown_class")
    )
    assert problems[-1].message == "and 4,900 more problems of this kind"
    assert all(len(p.where + p.message) < 1000 for p in problems)
    assert all(p.where.isprintable() and p.message.isprintable() for p in problems)


def test_names_in_another_unicode_form_are_the_same() -> None:
    given = {"caf\u00e9/1.png": "caf\u00e9", "tea/1.png": "tea", "tea/2.png": "tea"}
    corrections = Corrections.of({"tea/1.png": "cafe\u0301"}, ["cafe\u0301/1.png"])
    assert corrections.checked(("caf\u00e9", "tea"), given).relabel == {"tea/1.png": "caf\u00e9"}
    assert corrections.drop == {"caf\u00e9/1.png"}
