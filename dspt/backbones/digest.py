"""What identifies a backbone: one SHA-256 over all that decides its embeddings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import nn

from dspt.backbones.base import Tokenizer

_PROBE = 'The 12 quick_brown foxes\' jump, naïve & over-eager: "Zoë" (№ 7)!'
"""Words whose ids tell one vocabulary, and one way of cleaning text, from another."""
_DECIDES_NOTHING = frozenset(
    {
        "hf_tokenizer_name",
        "timm_model_pretrained",
        "hf_model_pretrained",
        "custom_text",
        "init_logit_scale",
        "init_logit_bias",
        "output_dict",
    }
)
"""Keys of a model config that say where things come from or where training starts."""


def backbone_digest(
    model: nn.Module, model_cfg: dict[str, Any], preprocess: dict[str, Any], tokenizer: Tokenizer
) -> str:
    """SHA-256 (hex) over the weights (name, dtype, shape, bytes, in order of their names), the
    architecture, the preprocessing and the vocabulary.

    The same weights give the same digest whether they came by tag, by file or from a folder: what
    is digested is the model in memory, and config values that equal open_clip's defaults are left
    out.
    """
    sha = hashlib.sha256()
    about = {
        "model": _essence(model_cfg),
        "preprocess": {k: preprocess[k] for k in sorted(preprocess) if k != "mode"},
        "tokenizer": [list(tokenizer.start), tokenizer.encode(_PROBE), list(tokenizer.end)],
    }
    sha.update(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        sha.update(flat.view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _essence(model_cfg: dict[str, Any]) -> dict[str, Any]:
    defaults = {"vision_cfg": asdict(CLIPVisionCfg()), "text_cfg": asdict(CLIPTextCfg())}
    found: dict[str, Any] = {}
    for key, value in model_cfg.items():
        if key in defaults:
            default = defaults[key]
            found[key] = {
                k: v
                for k, v in value.items()
                if k not in _DECIDES_NOTHING and (k not in default or v != default[k])
            }
        elif key not in _DECIDES_NOTHING and value:
            found[key] = value
    return found
