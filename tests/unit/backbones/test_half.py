"""Image towers in float16: used only where they classify as in float32."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

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


def test_the_built_in_tower_classifies_the_same_in_float16(builtin: Backbone) -> None:
    faster = in_float16(builtin)
    assert (builtin.precision, faster.precision) == ("float32", "float16")
    assert (faster.digest, faster.device) == (builtin.digest, builtin.device)
    assert isinstance(faster.image_tower, HalfTower)
    assert {p.dtype for p in faster.image_tower.parameters()} == {torch.float16}
    assert {p.dtype for p in builtin.image_tower.parameters()} == {torch.float32}
    shape = (3, builtin.image_size, builtin.image_size, 3)
    crops = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    expected, found = builtin.encode(crops), faster.encode(crops)
    assert found.dtype == np.float32
    for part in (slice(builtin.embed_dim), slice(builtin.embed_dim, None)):
        assert (expected[:, part] * found[:, part]).sum(1).min() > 0.999


@pytest.mark.parametrize("factor", [1e6, 1e-9])
def test_a_tower_that_float16_cannot_hold_stays_in_float32(
    builtin: Backbone, factor: float
) -> None:
    backbone = dataclasses.replace(builtin, image_tower=Detour(builtin.image_tower, factor))
    assert in_float16(backbone) is backbone
