"""Resize, crop and normalise photos with Pillow and numpy, bit for bit as open_clip does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dspt.errors import BackboneError

Crops = NDArray[np.uint8]
"""(B, H, W, 3)."""


class Preprocessing:
    """The steps of open_clip's preprocess config `cfg` for inference. Needs no torch.

    Raises BackboneError for an unknown resize mode.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        size: Any = cfg["size"]
        self._height: int
        self._width: int
        self._height, self._width = (size, size) if isinstance(size, int) else size
        bilinear = cfg["interpolation"] == "bilinear"
        self._filter = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
        self._mode: str = cfg["resize_mode"] or "shortest"
        if self._mode not in ("shortest", "longest", "squash"):
            raise BackboneError(f"preprocessing with resize_mode {self._mode!r} is not supported")
        self._fill = int(cfg.get("fill_color", 0))
        self.mean, self.std = (_per_channel(cfg[name]) for name in ("mean", "std"))
        """(3, 1, 1), of pixels from 0 to 1."""

    @property
    def read_side(self) -> int:
        """Pixels that the shorter side of a photo needs: `decode_image(data, side=...)`.

        Twice those of the crop. Then a JPEG decoded at a reduced size gives nearly the same crop.
        """
        return 2 * max(self._height, self._width)

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB image: -> (H, W, 3)."""
        height, width = self._resized(image.height, image.width)
        filter_ = self._filter
        if self._mode == "shortest" and self._height != self._width:
            filter_ = Image.Resampling.BICUBIC  # open_clip ignores the filter there
        resized = image.resize((width, height), filter_)
        # Python's round(), which rounds halves to even, as torchvision does.
        top, left = round((height - self._height) / 2), round((width - self._width) / 2)
        if self._mode == "longest":
            resized = self._padded(resized)
            top, left = max(0, top), max(0, left)
        box = (left, top, left + self._width, top + self._height)
        return np.array(resized.crop(box))

    def normalised(self, crops: Crops) -> NDArray[np.float32]:
        """Convert crops to the input of image towers: (B, H, W, 3) -> (B, 3, H, W)."""
        pixels = crops.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        pixels /= np.float32(255)
        pixels -= self.mean
        pixels /= self.std
        return pixels

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after resizing."""
        if self._mode == "squash":
            return self._height, self._width
        if self._mode == "shortest" and self._height == self._width:
            # The short side gets the target length; the long one is rounded down.
            short = min(height, width)
            return int(self._height * height / short), int(self._width * width / short)
        ratios = height / self._height, width / self._width
        ratio = max(ratios) if self._mode == "longest" else min(ratios)
        return round(height / ratio), round(width / ratio)

    def _padded(self, image: Image.Image) -> Image.Image:
        """Return the image in the middle of a canvas of at least the target size."""
        size = max(image.width, self._width), max(image.height, self._height)
        canvas = Image.new("RGB", size, (self._fill,) * 3)
        canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
        return canvas


def _per_channel(values: Any) -> NDArray[np.float32]:
    return np.array(np.broadcast_to(values, 3), np.float32).reshape(3, 1, 1)
