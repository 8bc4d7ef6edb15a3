"""Image towers in float16: used only where they classify as in float32."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from published import CLIP_CFG, build, write_folder
from torch import Tensor, nn

from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.backbones.half import HalfTower, in_float16


class Detour(nn.Module):
    """A tower whose input is multiplied and divided by the same factor, which float32 can hold."""

    def __init__(self, tower: nn.Module, factor: float) -> None:
        super().__init__()
        self.tower, self.factor = tower, factor

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.tower(pixels * self.factor / self.factor)
        return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A vision transformer and a text tower with small random weights: CPUs are slow in float16."""
    folder = tmp_path_factory.mktemp("small")
    return load_backbone(f"local-dir:{write_folder(folder, CLIP_CFG, build(CLIP_CFG))}")


def test_a_tower_classifies_the_same_in_float16(small: Backbone) -> None:
    faster = in_float16(small)
    assert (small.precision, faster.precision) == ("float32", "float16")
    assert (faster.digest, faster.device) == (small.digest, small.device)
    assert isinstance(faster.image_tower, HalfTower)
    assert {p.dtype for p in faster.image_tower.parameters()} == {torch.float16}
    assert {p.dtype for p in small.image_tower.parameters()} == {torch.float32}
    shape = (3, small.image_size, small.image_size, 3)
    crops = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    expected, found = small.encode(crops), faster.encode(crops)
    assert found.dtype == np.float32
    assert small.penultimate_dim > 0
    for part in (slice(small.embed_dim), slice(small.embed_dim, None)):
        assert (expected[:, part] * found[:, part]).sum(1).min() > 0.999


def test_the_built_in_tower_gives_the_same_in_float16(builtin: Backbone) -> None:
    """With it for three photos only: `in_float16` would take ten seconds."""
    pixels = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    expected, found = (
        torch.nn.functional.normalize(tower(pixels)[:, : builtin.embed_dim], dim=1)
        for tower in (builtin.image_tower, HalfTower(builtin.image_tower))
    )
    assert found.dtype == torch.float32
    assert (expected * found).sum(1).min() > 0.999


@pytest.mark.parametrize("factor", [1e6, 1e-9])
def test_a_tower_that_float16_cannot_hold_stays_in_float32(small: Backbone, factor: float) -> None:
    backbone = dataclasses.replace(small, image_tower=Detour(small.image_tower, factor))
    assert in_float16(backbone) is backbone
