"""What EfficientNet-Lite0 was trained to see: 224 x 224, bicubic, values in [-1, 1]."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dspt.backbones.builtin.model import IMAGE_SIZE

CROP_SCALE = (0.08, 1.0)
"""Share of the image's area that a random crop takes (CoOp's and Inception's range)."""
CROP_RATIO = (3 / 4, 4 / 3)
"""Width over height of a random crop before it is resized to a square."""


def preprocess(image: Image.Image) -> Tensor:
    """The short side to 224 (bicubic), the centre cut out. RGB image -> (3, 224, 224)."""
    scale = IMAGE_SIZE / min(image.size)
    width, height = (max(IMAGE_SIZE, round(side * scale)) for side in image.size)
    left, top = (width - IMAGE_SIZE) // 2, (height - IMAGE_SIZE) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    return _to_tensor(resized.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE)))


def augment(image: Image.Image, generator: torch.Generator) -> Tensor:
    """A random resized crop, flipped half of the time. RGB image -> (3, 224, 224).

    All randomness comes from `generator`, always the same number of draws.
    """
    area, ratio, x, y, flip = torch.rand(5, generator=generator).tolist()
    box = _crop_box(image.size, area, ratio, x, y)
    view = image.convert("RGB").resize(
        (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC, box=box, reducing_gap=None
    )
    if flip < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _to_tensor(view)


def _crop_box(
    size: tuple[int, int], area: float, ratio: float, x: float, y: float
) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) from four uniform draws.

    Area is uniform, the ratio log-uniform; a box that would stick out is cut to the image rather
    than drawn again, so that each view costs the same draws.
    """
    width, height = size
    target = (CROP_SCALE[0] + area * (CROP_SCALE[1] - CROP_SCALE[0])) * width * height
    low, high = math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])
    shape = math.exp(low + ratio * (high - low))
    w = min(width, max(1, round(math.sqrt(target * shape))))
    h = min(height, max(1, round(math.sqrt(target / shape))))
    left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
    return left, top, left + w, top + h


def _to_tensor(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32))
    return (pixels / 255 * 2 - 1).permute(2, 0, 1).contiguous()
