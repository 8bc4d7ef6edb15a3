"""Frozen vision-language models by name, and the list of those worth offering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspt.backbones.base import Backbone, TextTower, Tokenizer
from dspt.backbones.catalog import BackboneInfo, list_backbones

if TYPE_CHECKING:
    import torch

__all__ = [
    "Backbone",
    "BackboneInfo",
    "TextTower",
    "Tokenizer",
    "list_backbones",
    "load_backbone",
]


def load_backbone(name: str, *, device: torch.device | str = "cpu") -> Backbone:
    """The frozen backbone called `name`, in float32 on `device`.

    `name` is one of

    - `builtin`: small, works offline, for trying out
    - `ViT-B-16/openai`: an open_clip architecture and pretrained tag, from the Hugging Face hub's
      local cache or downloaded into it; the activation follows the tag
    - `ViT-B-16/openai@/path/to/file`: the same weights read from a file
    - `ViT-B-16@/path/to/file`: weights of one's own (.safetensors; .bin, .pt and .pth are read
      without running code in them)
    - `local-dir:/path/to/folder`: open_clip_config.json with its weights beside it

    Raises UnknownBackbone (no such name), WeightsUnavailable (its weights cannot be had here) or
    BackboneError (a model whose prompt cannot be tuned).
    """
    if name == "builtin":
        from dspt.backbones.builtin import load_builtin

        return load_builtin(device)
    # open_clip takes seconds to import: not before somebody wants one of its models.
    from dspt.backbones.openclip import load_openclip

    return load_openclip(name, device)
