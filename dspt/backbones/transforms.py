"""Preprocess images: open_clip's preprocessing for inference, and random views for training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tf

from dspt.backbones.preprocessing import Preprocessing

CROP_SCALE = (0.08, 1.0)
"""Share of the image's area in a random view (as in CoOp)."""
CROP_RATIO = (3 / 4, 4 / 3)
"""Width over height of a random view before it is resized."""
_CROP_TRIES = 10


class Preprocess:
    """Prepare RGB images for inference as open_clip does with a preprocess config: -> (3, H, W).

    `crop` and `normalised` do the same in two steps; the second is fast for batches.
    """

    def __init__(self, cfg: dict[str, Any]) -> None:
        self.cfg = PreprocessCfg(**cfg)
        """The config, for exports."""
        self._steps = Preprocessing(asdict(self.cfg))
        cpu = tuple(torch.from_numpy(each) for each in (self._steps.mean, self._steps.std))
        self._mean_and_std = {torch.device("cpu"): cpu}

    def __call__(self, image: Image.Image) -> Tensor:
        return self.normalised(self.crop(image)[None])[0]

    @property
    def read_side(self) -> int:
        """Pixels that the shorter side of a photo needs; see `Preprocessing`."""
        return self._steps.read_side

    def crop(self, image: Image.Image) -> Tensor:
        """Resize and crop an RGB image: -> (H, W, 3) uint8."""
        return torch.from_numpy(self._steps.crop(image))

    def normalised(self, crops: Tensor) -> Tensor:
        """Convert crops to input of image towers: (B, H, W, 3) uint8 -> (B, 3, H, W) float32."""
        pixels = crops.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        if (device := pixels.device) not in self._mean_and_std:
            on_cpu = self._mean_and_std[torch.device("cpu")]
            self._mean_and_std[device] = tuple(each.to(device) for each in on_cpu)
        mean, std = self._mean_and_std[device]
        return pixels.div_(255).sub_(mean).div_(std)


def make_augment(cfg: dict[str, Any]) -> Callable[[Image.Image, torch.Generator], Tensor]:
    """Return a function (RGB image, generator) -> (H, W, 3) uint8: a random crop and flip.

    The view depends only on the generator, so equal generators give equal views in any thread.
    """
    size = cfg["size"]
    height, width = (size, size) if isinstance(size, int) else size
    bilinear = cfg["interpolation"] == "bilinear"
    interpolation = InterpolationMode.BILINEAR if bilinear else InterpolationMode.BICUBIC

    def augment(image: Image.Image, generator: torch.Generator) -> Tensor:
        top, left, h, w = _random_box(image.height, image.width, generator)
        view = tf.resized_crop(
            image.convert("RGB"), top, left, h, w, [height, width], interpolation
        )
        if torch.rand((), generator=generator) < 0.5:
            view = tf.hflip(view)
        return torch.from_numpy(np.array(view))

    return augment


def _random_box(height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Draw (top, left, height, width) as torchvision's RandomResizedCrop does.

    torchvision itself draws from the global generator, which all threads share.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    log_ratio = (math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1]))
    for _ in range(_CROP_TRIES):
        area = height * width * uniform(*CROP_SCALE)
        ratio = math.exp(uniform(*log_ratio))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(torch.randint(0, height - h + 1, (), generator=generator))
            left = int(torch.randint(0, width - w + 1, (), generator=generator))
            return top, left, h, w
    # The image is too narrow for such a box: crop its centre to the nearest allowed ratio.
    w = min(width, max(1, round(height * CROP_RATIO[1])))
    h = min(height, max(1, round(width / CROP_RATIO[0])))
    return (height - h) // 2, (width - w) // 2, h, w
