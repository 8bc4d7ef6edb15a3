"""Models that several tests share, built once.

The fixtures import what they need: pytest's controlling process, which runs no test, loads this
file too and need not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone


@pytest.fixture(scope="session")
def builtin() -> Backbone:
    """The built-in backbone."""
    from dspt.backbones.builtin import load_builtin

    return load_builtin()


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A causal text tower of two small layers with random weights, logit scale 30."""
    from towers import tiny_backbone

    return tiny_backbone()
