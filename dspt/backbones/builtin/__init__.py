"""The built-in backbone: a small vision-language model that works offline.

For trying out and for tests; MODEL_CARD.md beside this file says what it is made of and what it
can do. Use ViT-B-16 for work.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dspt.backbones.base import Backbone

if TYPE_CHECKING:
    import torch

__all__ = ["load_builtin"]


def load_builtin(device: torch.device | str = "cpu", *, folder: Path | None = None) -> Backbone:
    """The built-in backbone on `device`, frozen, in float32.

    folder: where image_head.safetensors and text_tower_fp16.safetensors lie, when not those that
    this package ships. EfficientNet-Lite0's weights come from their own package.
    Raises WeightsUnavailable when a file is missing, damaged or of another shape.
    """
    # open_clip and timm take seconds to import: not before somebody wants the model.
    from dspt.backbones.builtin.loader import load

    return load(device, folder)
