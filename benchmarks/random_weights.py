"""Backbones with random weights: as fast as the published ones, without a download."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from dspt.errors import UnknownBackbone

#: As in `ViT-B-16/random`.
RANDOM = "/random"
_SEED = 7


def loadable(name: str, folder: Path) -> str:
    """Return the name that loads a backbone; of `ARCHITECTURE/random` write a checkpoint first.

    Raises UnknownBackbone.
    """
    if not name.endswith(RANDOM):
        return name
    import open_clip
    import torch
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    architecture = name.removesuffix(RANDOM)
    cfg = open_clip.get_model_config(architecture)
    if cfg is None:
        raise UnknownBackbone(f"open_clip has no architecture {architecture}")
    written, cfg = deepcopy(cfg), deepcopy(cfg)
    torch.manual_seed(_SEED)
    kind: Any = CustomTextCLIP if cfg.pop("custom_text", False) else CLIP
    place = folder / architecture
    place.mkdir(parents=True)
    config = {"model_cfg": written, "preprocess_cfg": {}}
    (place / "open_clip_config.json").write_text(json.dumps(config))
    weights = {key: value.contiguous() for key, value in kind(**cfg).state_dict().items()}
    save_file(weights, place / "open_clip_model.safetensors")
    return f"local-dir:{place}"
