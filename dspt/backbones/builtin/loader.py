"""Assemble the built-in backbone from its three weight files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dspt.backbones.base import Backbone
from dspt.backbones.builtin import files
from dspt.backbones.builtin.model import EMBED_DIM, IMAGE_SIZE, LOGIT_SCALE, BuiltinModel
from dspt.backbones.text_tower import open_clip_text_tower
from dspt.backbones.tokenizer import OpenClipTokenizer
from dspt.backbones.transforms import Preprocess, make_augment
from dspt.backbones.uninitialized import Uninitialized

PIXELS = {
    "size": IMAGE_SIZE,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
"""Preprocessing of EfficientNet-Lite0, but with the full short side instead of 87.5 % of it."""
_CPU_IMAGES = 8
"""With 32 images one thread or two take twice the CPU time, and 430 MiB more: activations then
exceed the 32 MiB up to which the C allocator keeps what was freed, so that each layer gets new
pages from the system. ViTs have no such activations; they take more time with fewer images."""
_REBUILD_ONLY = ("text_mean",)
"""Tensors in the head's file that are only used when a text tower is distilled."""


def load(device: torch.device | str, folder: Path | None) -> Backbone:
    """Return the backbone; see dspt.backbones.builtin.load_builtin."""
    model, digest = load_model(folder or files.FOLDER)
    model = model.to(device)
    return Backbone(
        name="builtin",
        digest=digest,
        image_tower=model.visual,
        text_tower=open_clip_text_tower(model),
        tokenizer=OpenClipTokenizer(),
        preprocess=Preprocess(PIXELS),
        augment=make_augment(PIXELS),
        logit_scale=LOGIT_SCALE,
        embed_dim=EMBED_DIM,
        image_size=IMAGE_SIZE,
        activation="gelu",
        penultimate_dim=model.visual.trunk.num_features,
        cpu_images=_CPU_IMAGES,
    )


def load_model(folder: Path) -> tuple[BuiltinModel, str]:
    """Return the frozen model on the CPU and the SHA-256 of its files.

    Raises WeightsUnavailable.
    """
    head = files.read_bytes(folder / files.IMAGE_HEAD)
    text = files.read_bytes(folder / files.TEXT_TOWER)
    trunk_file = files.efficientnet_file()
    trunk, trunk_state = files.read_efficientnet(trunk_file)
    head_state = files.parse_safetensors(head, files.IMAGE_HEAD)
    for name in _REBUILD_ONLY:
        head_state.pop(name, None)

    with Uninitialized():
        model = BuiltinModel()
    files.load_by_order(model.visual.trunk, trunk_state, trunk_file.name)
    files.load_exactly(model.visual.head, head_state, files.IMAGE_HEAD)
    files.load_exactly(
        model.text, files.parse_safetensors(text, files.TEXT_TOWER), files.TEXT_TOWER
    )
    model.eval().requires_grad_(False)
    _fold_norms(model.visual.trunk)
    # Twice as fast on the CPU, for any memory layout of the input.
    model.visual.to(memory_format=torch.channels_last)
    return model, files.digest([head, text, trunk])


def _fold_norms(trunk: nn.Module) -> None:
    """Make each normalisation part of the convolution before it.

    Encoding then takes a sixth to a quarter less time on a CPU.
    """
    for module in list(trunk.modules()):
        for (name, conv), (after, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))
                setattr(module, after, norm.act)  # timm's have the activation in them
