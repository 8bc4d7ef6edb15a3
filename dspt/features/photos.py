"""Features of images that are no files of a data set: PIL images and paths."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dspt.backbones.base import Backbone
from dspt.data import decode_image
from dspt.data.copies import thumbnail_of
from dspt.data.images import upright_rgb
from dspt.errors import ImageError

_BATCH = 32  # images encoded at once

Photo = Image.Image | str | Path


def as_photos(data: Any) -> list[Photo] | None:
    """Return `data` as a list of images, or None if it is a matrix."""
    if isinstance(data, str | Path | Image.Image):
        raise ValueError("X is a single image; pass a list of images")
    if isinstance(data, list | tuple) or (isinstance(data, np.ndarray) and data.ndim == 1):
        photos = list(data)
        if photos and all(isinstance(photo, str | Path | Image.Image) for photo in photos):
            return photos
    return None


def encode_photos(photos: Iterable[Photo], backbone: Backbone) -> tuple[Tensor, NDArray[np.uint8]]:
    """Return features (N, F) and thumbnails (N, 32, 32). Raises ImageError."""
    images = (_opened(photo, backbone.read_side) for photo in photos)
    prepared = [(backbone.preprocess.crop(image), thumbnail_of(image)) for image in images]
    crops = [crop for crop, _ in prepared]
    parts = [
        backbone.encode_crops(torch.stack(crops[start : start + _BATCH]))
        for start in range(0, len(crops), _BATCH)
    ]
    return torch.cat(parts).clone(), np.stack([thumbnail for _, thumbnail in prepared])


def _opened(photo: Photo, side: int) -> Image.Image:
    """RGB, upright. Raises ImageError, which names the file."""
    if isinstance(photo, Image.Image):
        return upright_rgb(photo)
    try:
        return decode_image(Path(photo).read_bytes(), side=side)
    except OSError as error:
        raise ImageError(f"{photo}: cannot be read: {error.strerror}", param=str(photo)) from error
    except ImageError as error:
        raise ImageError(f"{photo}: {error.message}", param=str(photo)) from error
