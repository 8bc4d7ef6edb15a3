"""Backbones around random open_clip text towers, with CLIP's tokenizer or one of a few letters."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer
from PIL import Image
from torch import Tensor, nn

from dspt.backbones.base import Backbone, Tokenizer
from dspt.backbones.text_tower import OpenClipTextTower, open_clip_text_tower
from dspt.backbones.tokenizer import OpenClipTokenizer

TINY_IMAGES = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}


class LetterTokenizer:
    """One id per letter, and an end token: a tokenizer without a start token, as SigLIP's."""

    start: tuple[int, ...] = ()
    end: tuple[int, ...] = (1,)

    def encode(self, text: str) -> list[int]:
        return [2 + ord(letter) % 90 for letter in text]


class ToyPreprocess:
    """Four by four pixels, from 0 to 1."""

    read_side = 8

    def __call__(self, image: Image.Image) -> Tensor:
        return self.normalised(self.crop(image)[None])[0]

    def crop(self, image: Image.Image) -> Tensor:
        return torch.tensor(list(image.resize((4, 4)).tobytes()), dtype=torch.uint8).view(4, 4, 3)

    def normalised(self, crops: Tensor) -> Tensor:
        return crops.permute(0, 3, 1, 2).float() / 255


def backbone_of(
    tower: OpenClipTextTower,
    dim: int,
    *,
    tokenizer: Tokenizer | None = None,
    digest: str = "ab" * 32,
) -> Backbone:
    """A backbone with this text tower whose image tower averages the colours."""
    torch.manual_seed(11)
    return Backbone(
        name="toy",
        digest=digest,
        image_tower=nn.Sequential(nn.Flatten(), nn.Linear(48, dim)).requires_grad_(False),
        text_tower=tower,
        tokenizer=tokenizer or OpenClipTokenizer(),
        preprocess=ToyPreprocess(),
        augment=lambda image, generator: ToyPreprocess().crop(image),
        logit_scale=30.0,
        embed_dim=dim,
        image_size=4,
        activation="gelu",
    )


def tiny_backbone(**text: Any) -> Backbone:
    torch.manual_seed(3)
    size = {"width": 32, "heads": 2, "layers": 2, "output_dim": 16}
    tower = TextTransformer(context_length=77, vocab_size=49408, **(size | text))
    disturb(tower)
    return backbone_of(open_clip_text_tower(tower), 16)


@cache
def open_clip_model(name: str) -> Any:
    """The named architecture, its text tower of three narrow layers, weights random."""
    torch.manual_seed(7)
    cfg = copy.deepcopy(open_clip.get_model_config(name))
    cfg["vision_cfg"] = TINY_IMAGES
    cfg["text_cfg"] |= {"layers": 3, "width": 8 * cfg["text_cfg"]["heads"]}
    cfg["text_cfg"]["vocab_size"] = min(cfg["text_cfg"]["vocab_size"], 49408)
    kind = CustomTextCLIP if cfg.pop("custom_text", False) else CLIP
    model = kind(**cfg)
    disturb(model)
    return model


def open_clip_backbone(name: str) -> Backbone:
    model = open_clip_model(name)
    text = getattr(model, "text", model)
    return backbone_of(open_clip_text_tower(model), text.text_projection.shape[-1])


def disturb(model: nn.Module) -> None:
    """Make biases and norms, which start as 0 and 1, count."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))


def rescaled(backbone: Backbone, factor: float) -> Backbone:
    """The same function with token embeddings `factor` times as large.

    All that is written into the residual stream is scaled, and the epsilon of the norms that read
    from it with its variance.
    """
    tower = backbone.text_tower
    assert isinstance(tower, OpenClipTextTower)
    text: Any = copy.deepcopy(tower._text)
    with torch.no_grad():
        writers = [text.token_embedding.weight, text.positional_embedding]
        norms = [text.ln_final]
        for block in text.transformer.resblocks:
            writers += [*block.attn.out_proj.parameters(), *block.mlp.c_proj.parameters()]
            norms += [block.ln_1, block.ln_2]
        for weight in writers:
            weight.mul_(factor)
    for norm in norms:
        norm.eps *= factor**2
    return dataclasses.replace(backbone, text_tower=open_clip_text_tower(text))


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())
