"""Towers for the benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone


@pytest.fixture
def small_tower(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps over data sets use a small tower with random weights for the built-in backbone."""
    monkeypatch.setattr("benchmarks.skeleton.sweep.load_backbone", lambda name, device: tiny)
