"""Models that several tests share, built once."""

from __future__ import annotations

import pytest
from towers import tiny_backbone

from dspt.backbones.base import Backbone
from dspt.backbones.builtin import load_builtin


@pytest.fixture(scope="session")
def builtin() -> Backbone:
    """The built-in backbone."""
    return load_builtin()


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A causal text tower of two small layers with random weights, logit scale 30."""
    return tiny_backbone()
