"""Digest of a backbone: a SHA-256 over everything that affects its embeddings."""

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
"""Text whose ids differ between vocabularies and between ways of cleaning text."""
_IRRELEVANT = frozenset(
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
"""Keys of a model config about the origin of weights or the start of training."""


def backbone_digest(
    model: nn.Module, model_cfg: dict[str, Any], preprocess: dict[str, Any], tokenizer: Tokenizer
) -> str:
    """Return the SHA-256 (hex) over weights, architecture, preprocessing and vocabulary.

    The weights are hashed by name, dtype, shape and bytes, in order of their names. The same
    weights have the same digest whether loaded by tag, from a file or from a folder: the digest is
    computed from the model in memory, and config values equal to open_clip's defaults are ignored.
    """
    sha = hashlib.sha256()
    about = {
        "model": _relevant(model_cfg),
        "preprocess": {k: preprocess[k] for k in sorted(preprocess) if k != "mode"},
        "tokenizer": [list(tokenizer.start), tokenizer.encode(_PROBE), list(tokenizer.end)],
    }
    sha.update(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        sha.update(flat.view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _relevant(model_cfg: dict[str, Any]) -> dict[str, Any]:
    defaults = {"vision_cfg": asdict(CLIPVisionCfg()), "text_cfg": asdict(CLIPTextCfg())}
    found: dict[str, Any] = {}
    for key, value in model_cfg.items():
        if key in defaults:
            default = defaults[key]
            found[key] = {
                k: v
                for k, v in value.items()
                if k not in _IRRELEVANT and (k not in default or v != default[k])
            }
        elif key not in _IRRELEVANT and value:
            found[key] = value
    return found
