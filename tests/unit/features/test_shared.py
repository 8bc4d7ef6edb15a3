"""Features that machines share: each view is encoded once, and damage costs time only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from towers import tiny_backbone

from dspt.backbones.base import Backbone
from dspt.data import Dataset, load_dataset
from dspt.data.copies import empty_thumbnails
from dspt.features import shared as module
from dspt.features.encode import encode_images, pack_name
from dspt.features.pack import Pack
from dspt.features.shared import SharedFeatures
from dspt.features.store import FeatureStore
from tests.photographs import write_photographs

CLASSES = ("cat", "coffee")
TRAIN, TEST = 6, 2
VIEWS = len(CLASSES) * (2 * TRAIN + TEST)
"""Of all images, with one augmented view of those to train on."""


class Folder(dict[str, bytes]):
    """A PackFolder in memory, which counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.away = False

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.away:
            raise ConnectionError("the storage did not answer within 5 s")

    def read(self, name: str) -> bytes:
        self._call("read")
        if name not in self:
            raise FileNotFoundError(name)
        return self[name]

    def has(self, name: str) -> bool:
        self._call("has")
        return name in self

    def create(self, name: str, data: bytes) -> None:
        self._call("create")
        if name in self:
            raise FileExistsError(name)
        self[name] = data

    def replace(self, name: str, data: bytes) -> None:
        self._call("replace")
        self[name] = data


class Counting(nn.Module):
    """Counts the images that it lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.images += len(pixels)
        return pixels


class Machine:
    """A cache of its own, and a tower that counts the images that it encodes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._counting = Counting()
        toy = tiny_backbone()
        tower = nn.Sequential(self._counting, toy.image_tower)
        self.backbone: Backbone = dataclasses.replace(toy, image_tower=tower)
        self.warnings: list[str] = []
        self.sources: list[tuple[int, int, int]] = []

    def encode(self, dataset: Dataset, folders: Sequence[Folder]) -> tuple[Tensor, np.ndarray]:
        """Features and thumbnails of a data set, with one augmented view."""
        name = pack_name(self.backbone, 1)
        shared = SharedFeatures(folders, name, on_failure=self.warnings.append)
        thumbnails = empty_thumbnails(len(dataset.items))
        features = encode_images(
            self.backbone,
            dataset,
            augment_views=1,
            store=FeatureStore(self._directory),
            shared=shared if folders else None,
            thumbnails=thumbnails,
            encoded=lambda *counts: self.sources.append(counts),
        )
        return features, thumbnails

    def encoded(self) -> int:
        """Images through the tower since the last call."""
        images, self._counting.images = self._counting.images, 0
        return images

    def views(self) -> tuple[int, ...]:
        """Views that were encoded, cached and shared since the last call."""
        counts = tuple(map(sum, zip(*self.sources, strict=True)))
        self.sources.clear()
        return counts


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    photos = tmp_path_factory.mktemp("photos")
    with load_dataset(write_photographs(photos, CLASSES, train=TRAIN, test=TEST, seed=4)) as opened:
        yield opened


@pytest.fixture
def one(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "other")


def part_of(dataset: Dataset, rows: slice) -> Dataset:
    return dataclasses.replace(dataset, items=dataset.items[rows], hashes=dataset.hashes[rows])


def relabelled(dataset: Dataset, label: int) -> Dataset:
    """With this label for all photos of the first class; -1: without a label."""
    items = tuple(
        dataclasses.replace(item, label=label if item.label == 0 else item.label)
        for item in dataset.items
    )
    return dataclasses.replace(dataset, items=items)


def test_another_machine_encodes_nothing(one: Machine, other: Machine, dataset: Dataset) -> None:
    folder = Folder()
    features, thumbnails = one.encode(dataset, [folder])
    assert (one.encoded(), one.views()) == (VIEWS, (VIEWS, 0, 0))
    corrected = relabelled(dataset, 1)
    there, thumbnails_there = other.encode(corrected, [folder])
    assert (other.encoded(), other.views()) == (0, (0, 0, VIEWS))
    assert torch.equal(there, features)
    assert np.array_equal(thumbnails_there, thumbnails)
    assert folder.calls == ["read", "create", "read"]
    again, _ = other.encode(dataset, [])  # now they are in its own cache
    assert (other.encoded(), other.views()) == (0, (0, VIEWS, 0))
    assert torch.equal(again, features)
    assert one.warnings == other.warnings == []


def test_the_images_are_not_even_read(
    one: Machine, other: Machine, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder()
    features, _ = one.encode(dataset, [folder])

    def refuse(*_: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr("dspt.features.encode.read_image", refuse)
    assert torch.equal(other.encode(dataset, [folder])[0], features)


def test_a_machine_that_has_all_only_asks_whether_the_others_do(
    one: Machine, other: Machine, dataset: Dataset
) -> None:
    one.encode(dataset, [])
    folder = Folder()
    for _ in range(2):
        one.encode(dataset, [folder])
    assert folder.calls == ["has", "create", "has"]
    one.encoded(), other.encode(dataset, [folder])
    assert (one.encoded(), other.encoded()) == (0, 0)


def test_a_pack_of_added_photos_has_those_only(
    one: Machine, other: Machine, dataset: Dataset
) -> None:
    first, added = Folder(), Folder()
    one.encode(part_of(dataset, slice(5)), [first])
    other.encode(dataset, [first, added])
    [packed] = added.values()
    pack = Pack.from_bytes(pack_name(other.backbone, 1), packed)
    assert set(pack.thumbnails) == set(dataset.hashes[5:])
    assert len(first) == 1


def test_a_pack_that_lacks_views_is_completed(
    one: Machine, other: Machine, dataset: Dataset, tmp_path: Path
) -> None:
    folder = Folder()
    one.encode(relabelled(dataset, -1), [folder])
    assert one.encoded() == VIEWS - TRAIN
    other.encode(dataset, [folder])
    assert other.encoded() == TRAIN
    third = Machine(tmp_path / "third")
    third.encode(dataset, [folder])
    assert third.encoded() == 0


def test_machines_that_encode_at_once_keep_the_first_pack(
    one: Machine, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder()
    name = pack_name(one.backbone, 1)

    def nothing_yet(name: str) -> bytes:
        folder[name] = b"of the other"  # right after this look
        raise FileNotFoundError(name)

    monkeypatch.setattr(folder, "read", nothing_yet)
    one.encode(dataset, [folder])
    assert folder == {name: b"of the other"}
    assert folder.calls == ["create"]
    assert one.warnings == []


def test_a_damaged_pack_is_a_miss_with_a_warning_and_is_replaced(
    one: Machine, other: Machine, dataset: Dataset, tmp_path: Path
) -> None:
    folder = Folder()
    features, _ = one.encode(dataset, [folder])
    [(name, data)] = folder.items()
    folder[name] = data[: len(data) // 2]
    there, _ = other.encode(dataset, [folder])
    assert torch.equal(there, features)
    assert other.encoded() == VIEWS
    assert [warning for warning in other.warnings if "encoded again" in warning] == other.warnings
    assert len(other.warnings) == 1
    third = Machine(tmp_path / "third")
    third.encode(dataset, [folder])
    assert (third.encoded(), third.warnings) == (0, [])


def test_no_damage_goes_unnoticed() -> None:
    images = ["ab" * 32, "cd" * 32]
    pack = Pack(
        {(image, view): np.full(3, view, np.float32) for image in images for view in (0, 1)},
        {image: np.zeros((2, 2), np.uint8) for image in images},
    )
    data = pack.to_bytes("name")
    read = Pack.from_bytes("name", data)
    assert list(read.features) == list(pack.features)
    assert all(np.array_equal(read.features[key], pack.features[key]) for key in pack.features)
    damaged = [data[:length] for length in range(len(data))]
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1
        damaged.append(bytes(flipped))
    for each in damaged:
        with pytest.raises(ValueError, match=r"pack|digest"):
            Pack.from_bytes("name", each)
    with pytest.raises(ValueError, match="digest"):
        Pack.from_bytes("another", data)


def test_a_storage_that_is_away_costs_time_only(one: Machine, dataset: Dataset) -> None:
    folder = Folder()
    folder.away = True
    one.encode(dataset, [folder])
    assert one.encoded() == VIEWS
    assert len(one.warnings) == 2  # nothing read, nothing stored
    assert all("did not answer within 5 s" in warning for warning in one.warnings)


def test_packs_are_bounded(one: Machine, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    width = one.backbone.feature_dim * 4
    size = VIEWS * width + len(dataset.items) * 32 * 32
    folder = Folder()
    monkeypatch.setattr(module, "LARGEST", size - 1)
    one.encode(dataset, [folder])
    assert folder == {}
    monkeypatch.setattr(module, "LARGEST", size)
    one.encode(dataset, [folder])
    assert len(folder) == 1
