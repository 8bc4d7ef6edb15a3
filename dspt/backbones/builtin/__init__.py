"""The built-in backbone: a small vision-language model that works offline.

For trials and tests. MODEL_CARD.md in this folder describes its parts and accuracy. Use ViT-B-16
for real work.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dspt.backbones.base import Backbone

if TYPE_CHECKING:
    import torch

__all__ = ["load_builtin"]


def load_builtin(device: torch.device | str = "cpu", *, folder: Path | None = None) -> Backbone:
    """Return the built-in backbone on `device`, frozen, in float32.

    folder: contains image_head.safetensors and text_tower_fp16.safetensors. Default: the files in
    this package. The weights of EfficientNet-Lite0 come from a separate package.
    Raises WeightsUnavailable if a file is missing, damaged or has other shapes.
    """
    # Imported here because open_clip and timm take seconds to import.
    from dspt.backbones.builtin.loader import load

    return load(device, folder)
