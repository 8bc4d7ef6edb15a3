"""Copies of photos: what counts as one, what does not, and that it stays fast and small."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from app.datasets.demo_photos import PHOTOGRAPHS, photo_path
from dspt.data import copies
from dspt.data.copies import Groups, empty_thumbnails, find_copies, thumbnail_of

SIDE = 160


def saved_again(image: Image.Image, quality: int = 80) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 12, 0, width, height - height // 12))


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again": saved_again,
    "resized": lambda image: image.resize((image.width // 2, image.height // 2)),
    "mirrored": ImageOps.mirror,
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "cropped": cropped,
    "all of it": lambda image: saved_again(
        ImageEnhance.Brightness(ImageOps.mirror(cropped(image))).enhance(1.2)
    ),
}


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Photographs that share nothing: one crop of each of scikit-image's."""
    found = []
    for photograph in PHOTOGRAPHS:
        with Image.open(photo_path(photograph)) as image:
            found.append(ImageOps.fit(image.convert("RGB"), (SIDE, SIDE)))
    return found


def features_of(photos: list[int]) -> Tensor:
    """Unit vectors, close to each other for the same number, as a backbone's are for copies."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(max(photos) + 1, 64, generator=generator)
    noise = 0.1 * torch.randn(len(photos), 64, generator=generator)
    return F.normalize(centres[photos] + noise, dim=1)


def groups_of(images: list[Image.Image], photos: list[int]) -> Groups:
    thumbnails = np.stack([thumbnail_of(image) for image in images])
    return find_copies(list(range(len(images))), features_of(photos), thumbnails)


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_copy_is_found(how: str, photographs: list[Image.Image]) -> None:
    numbers = list(range(len(photographs)))
    altered = [ALTERED[how](image) for image in photographs]
    found = groups_of(photographs + altered, numbers * 2)
    assert np.mean(found[len(numbers) :] == numbers) > 0.9
    assert found[: len(numbers)].tolist() == numbers
    alone = [groups_of([photographs[n], altered[n]], [0, 0])[1] == 0 for n in numbers]
    assert np.mean(alone) > 0.9


def test_different_photographs_are_not_copies_however_alike_their_features(
    photographs: list[Image.Image],
) -> None:
    assert groups_of(photographs, [0] * len(photographs)).tolist() == list(range(len(photographs)))


def test_equal_digests_are_copies_without_thumbnails() -> None:
    features = features_of([0, 1, 2, 3, 4])
    assert find_copies(["a", "b", "a", "c", "b"], features).tolist() == [0, 1, 0, 3, 1]
    assert find_copies([b"x"], features[:1], empty_thumbnails(1)).tolist() == [0]
    assert find_copies([], features[:0], empty_thumbnails(0)).tolist() == []


def test_images_without_detail_are_not_copies() -> None:
    greys = [Image.new("RGB", (50, 50), (level,) * 3) for level in (0, 90, 255)]
    assert groups_of(greys, [0, 0, 0]).tolist() == [0, 1, 2]


def test_a_thumbnail_ignores_the_size(photographs: list[Image.Image]) -> None:
    for image in photographs:
        small = thumbnail_of(image.resize((64, 64)))
        difference = thumbnail_of(image).astype(int) - small.astype(int)
        assert np.abs(difference).mean() < 0.1 * thumbnail_of(image).std() + 2


class LargestTensor(TorchDispatchMode):
    """Remembers the number of values of the largest tensor that is made."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else [out]:
            if isinstance(each, Tensor):
                self.values = max(self.values, each.numel())
        return out


def test_memory_does_not_grow_with_the_square_of_the_images() -> None:
    rng = np.random.default_rng(0)
    largest = []
    for n in (1024, 2048):
        features = F.normalize(torch.from_numpy(rng.standard_normal((n, 4), np.float32)), dim=1)
        thumbnails = rng.integers(0, 256, (n, 32, 32), np.uint8)
        with LargestTensor() as seen:
            found = find_copies(list(range(n)), features, thumbnails)
        assert len(set(found.tolist())) == n
        largest.append(seen.values)
    assert largest[1] < 2.1 * largest[0]


def test_what_is_skipped_to_save_time_changes_no_group(
    photographs: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = photographs + [alter(image) for alter in ALTERED.values() for image in photographs]
    numbers = list(range(len(photographs))) * (1 + len(ALTERED))
    found = groups_of(images, numbers)
    monkeypatch.setattr(copies, "_ROWS", 7)
    assert groups_of(images, numbers).tolist() == found.tolist()
    monkeypatch.setattr(
        copies, "_grey_likeness", lambda windows, views: torch.ones(*windows.shape[:2], 2)
    )
    assert groups_of(images, numbers).tolist() == found.tolist()
