"""Preprocessing is open_clip's own; random views depend on the generator alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from dspt.backbones.preprocessing import Preprocessing
from dspt.backbones.transforms import Preprocess, make_augment
from dspt.errors import BackboneError

CFG: dict[str, Any] = {
    "size": 32,
    "mean": (0.4, 0.5, 0.6),
    "std": (0.2, 0.3, 0.4),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def picture(height: int = 60, width: int = 90) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [32, (32, 24), (24, 32)])
def test_preprocess_is_open_clips(
    mode: str, interpolation: str, size: int | tuple[int, int]
) -> None:
    ours = Preprocess(
        CFG | {"resize_mode": mode, "interpolation": interpolation, "size": size, "fill_color": 9}
    )
    theirs = image_transform(
        size,
        is_train=False,
        mean=CFG["mean"],
        std=CFG["std"],
        resize_mode=mode,
        interpolation=interpolation,
        fill_color=9,
    )
    for height, width in [(60, 90), (91, 60), (33, 32), (32, 32), (10, 47), (200, 31), (5, 5)]:
        image = picture(height, width)
        found = ours(image)
        assert found.shape == ((3, 32, 32) if size == 32 else (3, *size))
        torch.testing.assert_close(found, theirs(image), rtol=0, atol=1e-6)
        steps = Preprocessing(asdict(ours.cfg))
        assert np.array_equal(steps.normalised(steps.crop(image)[None])[0], found.numpy())


def test_an_unknown_resize_mode_is_refused() -> None:
    with pytest.raises(BackboneError, match="resize_mode 'tile' is not supported"):
        Preprocess(CFG | {"resize_mode": "tile"})


def test_equal_generators_give_equal_views_in_any_thread() -> None:
    augment = make_augment(CFG)
    alone = [augment(picture(), seeded(i)) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: augment(picture(), seeded(i)), range(8)))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(alone[0], alone[1])


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    make_augment(CFG)(picture(), seeded(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_uniform_image_gives_its_colour_whatever_the_view() -> None:
    grey = Image.new("RGB", (90, 60), (51, 102, 204))
    for seed in range(5):
        view = make_augment(CFG)(grey, seeded(seed))
        assert (view.shape, view.dtype) == ((32, 32, 3), torch.uint8)
        assert (view == torch.tensor([51, 102, 204])).all()


def test_half_of_the_views_are_flipped() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 240, dtype=np.uint8)[None, :, None], (240, 1, 3)))
    generator = seeded(3)
    augment = make_augment(CFG)
    views = [augment(ramp, generator)[..., 0].float() for _ in range(200)]
    flipped = sum(bool(view[:, 0].mean() > view[:, -1].mean()) for view in views)
    assert 70 < flipped < 130


@pytest.mark.parametrize(("height", "width"), [(1, 400), (400, 1), (3, 3)])
def test_odd_shapes(height: int, width: int) -> None:
    view = make_augment(CFG | {"size": (32, 24)})(picture(height, width), seeded(0))
    assert view.shape == (32, 24, 3)
