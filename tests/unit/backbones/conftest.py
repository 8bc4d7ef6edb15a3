"""Architectures small enough to write to a file in a test."""

from __future__ import annotations

import json

import open_clip
import pytest
from published import CLIP_CFG


@pytest.fixture(scope="session")
def architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two architectures small enough to write: Test-ViT and its QuickGELU form."""
    folder = tmp_path_factory.mktemp("architectures")
    (folder / "Test-ViT.json").write_text(json.dumps(CLIP_CFG))
    (folder / "Test-ViT-quickgelu.json").write_text(json.dumps(CLIP_CFG | {"quick_gelu": True}))
    open_clip.add_model_config(folder)
