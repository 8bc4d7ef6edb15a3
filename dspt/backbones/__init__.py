"""Frozen vision-language models: load one by name, list the recommended ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dspt.backbones.catalog import BackboneInfo, list_backbones
from dspt.backbones.weights import Weights

if TYPE_CHECKING:
    import torch

    from dspt.backbones.base import Backbone, Tokenizer

__all__ = [
    "Backbone",
    "BackboneInfo",
    "Tokenizer",
    "Weights",
    "find_weights",
    "list_backbones",
    "load_backbone",
]


def load_backbone(name: str, *, device: torch.device | str = "cpu") -> Backbone:
    """Return the frozen backbone `name` on `device`, in float32.

    On a GPU the image tower has float16 weights, if it then classifies the same; see
    `Backbone.precision`.

    `name` is one of

    - `builtin`: small, works offline, for trials
    - `ViT-B-16/openai`: an open_clip architecture and pretrained tag, from the local cache of the
      Hugging Face hub or downloaded into it; the tag decides the activation
    - `ViT-B-16/openai@/path/to/file`: the same weights read from a file
    - `ViT-B-16@/path/to/file`: your own weights (.safetensors; .bin, .pt and .pth are read without
      running code in them)
    - `local-dir:/path/to/folder`: open_clip_config.json and its weights in one folder

    Raises UnknownBackbone (unknown name), WeightsUnavailable (weights missing or damaged) or
    BackboneError (the prompt of this model cannot be tuned).
    """
    if name == "builtin":
        from dspt.backbones.builtin import load_builtin

        loaded = load_builtin(device)
    else:
        # Imported here because open_clip takes seconds to import.
        from dspt.backbones.openclip import load_openclip

        loaded = load_openclip(name, device)
    if loaded.on_cpu:
        return loaded
    from dspt.backbones.half import in_float16

    return in_float16(loaded)


def find_weights(name: str) -> Weights:
    """Return where the weights of `name` are. No network.

    Raises UnknownBackbone, WeightsUnavailable and BackboneError, as `load_backbone` does.
    """
    if name == "builtin":
        return Weights(name)
    from dspt.backbones.sources import resolve

    return resolve(name).weights


if not TYPE_CHECKING:  # a type checker reports a name that does not exist

    def __getattr__(name: str) -> Any:
        if name not in ("Backbone", "Tokenizer"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from dspt.backbones import base  # imports torch; the list of backbones does not need it

        return getattr(base, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
