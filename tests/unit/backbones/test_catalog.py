"""The backbones on offer."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest

from dspt.backbones import hub, list_backbones
from dspt.backbones.catalog import CATALOG


def test_the_catalogue_agrees_with_open_clip() -> None:
    for entry in CATALOG:
        architecture, tag = entry.name.split("/")
        cfg = open_clip.get_model_config(architecture)
        published = open_clip.get_pretrained_cfg(architecture, tag)
        assert published["hf_hub"] == f"{entry.repo}/"
        assert cfg["embed_dim"] == entry.embed_dim
        assert cfg["vision_cfg"]["image_size"] == entry.image_size
        tokenizer = cfg["text_cfg"].get("hf_tokenizer_name")
        assert tokenizer == (entry.repo if entry.own_tokenizer else None)


def test_the_list_says_what_to_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    builtin, *others = list_backbones()
    assert (builtin.name, builtin.weights) == ("builtin", "present")
    assert "trials and tests" in builtin.note
    assert "ViT-B-16/openai" in builtin.note
    assert {b.weights for b in others} == {"download"}
    families = ["ViT-B-16/", "ViT-B-32/", "ViT-L-14/", "RN50/", "RN101/", "MobileCLIP", "SigLIP"]
    assert all(any(f in b.name for b in others) for f in families)
    assert all(b.licence for b in others)
