"""Images to features: the same as one by one, once per image, in the data set's order."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dspt.backbones.base import Backbone
from dspt.data import Dataset, load_dataset, read_image
from dspt.errors import Cancelled, ImageError
from dspt.features import encode as module
from dspt.features.encode import BATCH, encode_images
from dspt.features.store import FeatureStore
from tests.photographs import write_photographs

CLASSES = ("cat", "coffee", "moon")
TRAIN, TEST = 9, 5
N_TRAIN, N_TEST = TRAIN * len(CLASSES), TEST * len(CLASSES)
N = N_TRAIN + N_TEST
"""More than one batch, and the last one not full."""


class CountingTower(nn.Module):
    """An image tower that knows how many images went through it."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.batches: list[int] = []

    @property
    def images(self) -> int:
        return sum(self.batches)

    def forward(self, pixels: Tensor) -> Tensor:
        self.batches.append(len(pixels))
        out: Tensor = self.tower(pixels)
        return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(
        tmp_path_factory.mktemp("photos"), CLASSES, train=TRAIN, test=TEST, seed=4
    )


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Iterator[Dataset]:
    with load_dataset(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def light(builtin: Backbone) -> Backbone:
    """The built-in backbone's pixels and views behind a random linear layer: quick to run."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        linear = nn.Linear(8 * 8 * 3, builtin.embed_dim)
    tower = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), linear)
    tower.requires_grad_(False)
    return dataclasses.replace(builtin, image_tower=tower, digest="1" * 64, penultimate_dim=0)


@pytest.fixture
def counted(light: Backbone) -> tuple[Backbone, CountingTower]:
    tower = CountingTower(light.image_tower)
    return dataclasses.replace(light, image_tower=tower), tower


def in_folder_copy(dataset: Dataset, target: Path) -> Path:
    """The images of `dataset` again, with other names, classes and order, in a zip."""
    with zipfile.ZipFile(target, "w") as archive:
        for row, item in enumerate(reversed(dataset.items)):
            name = f"photos/{'odd' if row % 2 else 'even'}/{row:03}.png"
            archive.writestr(name, dataset.source.read(item.path))
    return target


def test_features_are_those_of_each_image_alone_whatever_the_batch(
    builtin: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 5)
    few = write_photographs(tmp_path / "few", CLASSES, train=2, test=2, seed=4)
    with load_dataset(few) as dataset:
        features = encode_images(builtin, dataset)
        assert torch.equal(features, encode_images(builtin, dataset))  # the same bits every time
        pixels = [builtin.preprocess(read_image(dataset, item)) for item in dataset.items]
    one_by_one = torch.cat([builtin.encode_image(p[None]) for p in pixels])
    n = len(one_by_one)
    assert n == 4 * len(CLASSES)  # three batches, and the last one not full
    assert features.shape == (n, 1, builtin.feature_dim)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features[:, 0], one_by_one, atol=1e-5, rtol=0)
    for part in features.split([builtin.embed_dim, builtin.penultimate_dim], -1):
        torch.testing.assert_close(part.norm(dim=-1), torch.ones(n, 1))
    # Another image's features are nowhere near so close, so this also proves the order.
    nearest = (features[:, 0] @ one_by_one.T).argmax(1)
    assert torch.equal(nearest, torch.arange(n))


def test_views_follow_an_images_content_into_another_data_set(
    light: Backbone, dataset: Dataset, tmp_path: Path
) -> None:
    here = encode_images(light, dataset, augment_views=2)
    by_hash = dict(zip(dataset.hashes, here, strict=True))
    train = {
        hashed
        for hashed, item in zip(dataset.hashes, dataset.items, strict=True)
        if item.split == "train"
    }
    with load_dataset(in_folder_copy(dataset, tmp_path / "other.zip")) as other:
        there = encode_images(light, other, augment_views=3)
        assert len(other.items) == N
        for hashed, views in zip(other.hashes, there, strict=True):
            # All are training images there, and one more view does not change those before it.
            known = by_hash[hashed] if hashed in train else by_hash[hashed][:1]
            torch.testing.assert_close(views[: len(known)], known, atol=1e-5, rtol=0)


def test_views_differ_from_each_other_and_between_images(light: Backbone, dataset: Dataset) -> None:
    features = encode_images(light, dataset, augment_views=2)
    of_train = torch.tensor([item.split == "train" for item in dataset.items])
    views = features[of_train]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert ((views[:, a] - views[:, b]).norm(dim=-1) > 0.05).all()


def test_test_images_have_no_augmented_views(
    counted: tuple[Backbone, CountingTower], dataset: Dataset
) -> None:
    backbone, tower = counted
    features = encode_images(backbone, dataset, augment_views=3)
    assert tower.images == N_TRAIN * 4 + N_TEST
    assert max(tower.batches) == backbone.cpu_images == 8
    for row, item in enumerate(dataset.items):
        if item.split == "test":
            assert torch.equal(features[row], features[row, :1].expand(4, -1))


def test_a_second_run_uses_neither_the_tower_nor_the_images(
    counted: tuple[Backbone, CountingTower], folder: Path, tmp_path: Path
) -> None:
    backbone, tower = counted
    copy = shutil.copytree(folder, tmp_path / "copy")
    with load_dataset(copy) as dataset:
        first = encode_images(
            backbone, dataset, augment_views=1, store=FeatureStore(tmp_path / "store")
        )
        assert tower.images == 2 * N_TRAIN + N_TEST
        tower.batches.clear()
        shutil.rmtree(copy)
        second = encode_images(
            backbone, dataset, augment_views=1, store=FeatureStore(tmp_path / "store")
        )
        assert tower.batches == []
        assert torch.equal(first, second)
        with pytest.raises(ImageError, match=r"test/cat/0\.png"):
            encode_images(backbone, dataset)


def test_only_the_views_that_are_missing_are_encoded(
    counted: tuple[Backbone, CountingTower], dataset: Dataset, tmp_path: Path
) -> None:
    backbone, tower = counted
    store = FeatureStore(tmp_path)
    plain = encode_images(backbone, dataset, store=store)
    tower.batches.clear()
    more = encode_images(backbone, dataset, augment_views=2, store=store)
    assert tower.images == 2 * N_TRAIN
    assert torch.equal(more[:, :1], plain)


def test_another_backbone_does_not_get_this_ones_features(
    counted: tuple[Backbone, CountingTower], dataset: Dataset, tmp_path: Path
) -> None:
    backbone, tower = counted
    store = FeatureStore(tmp_path)
    encode_images(backbone, dataset, store=store)
    tower.batches.clear()
    encode_images(dataclasses.replace(backbone, digest="0" * 64), dataset, store=store)
    assert tower.images == N


def test_a_store_that_fails_costs_only_time(
    counted: tuple[Backbone, CountingTower], dataset: Dataset, tmp_path: Path
) -> None:
    backbone, tower = counted
    (tmp_path / "features.sqlite").write_bytes(b"damaged " * 1000)
    features = encode_images(backbone, dataset, store=FeatureStore(tmp_path))
    assert tower.images == N
    assert torch.equal(features, encode_images(backbone, dataset))


def test_progress_counts_up_to_all_images(light: Backbone, dataset: Dataset) -> None:
    told: list[tuple[int, int]] = []
    encode_images(light, dataset, progress=lambda done, total: told.append((done, total)))
    assert told == [(BATCH, N), (N, N)]


def test_cancelling_stops_soon_and_keeps_what_is_done(
    counted: tuple[Backbone, CountingTower], dataset: Dataset, tmp_path: Path
) -> None:
    backbone, tower = counted
    store = FeatureStore(tmp_path)
    with pytest.raises(Cancelled) as caught:
        encode_images(backbone, dataset, store=store, should_stop=lambda: tower.images > 0)
    assert tower.images == BATCH
    # `caught` still holds the traceback, and with it the frames.
    assert caught.value.code == "cancelled"
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]
    tower.batches.clear()
    encode_images(backbone, dataset, store=store)
    assert tower.images == N - BATCH


def test_cancelled_before_the_start_encodes_nothing(
    counted: tuple[Backbone, CountingTower], dataset: Dataset
) -> None:
    backbone, tower = counted
    with pytest.raises(Cancelled):
        encode_images(backbone, dataset, should_stop=lambda: True)
    assert tower.batches == []


def test_an_image_that_is_gone_is_named_and_leaves_no_thread(
    light: Backbone, folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    with load_dataset(copy) as dataset:
        (copy / "train/moon/3.png").unlink()
        with pytest.raises(ImageError, match=r"train/moon/3\.png"):
            encode_images(light, dataset)
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]
