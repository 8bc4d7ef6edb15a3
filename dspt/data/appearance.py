"""Notice photos that will hardly help: tiny, dark, of a single colour, or blurred.

cleanvision has such checks, but needs pandas and matplotlib and decodes every file again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 160
"""Shorter side in pixels at which photos are checked; about what an image tower sees."""
_TINY = 16
_BLANK = 0.5
"""Standard deviation of the brightness, 0..255."""
_DARK = 30.0
"""99th percentile of the brightness, 0..255."""
_BLURRED = 0.06
"""Standard deviation of the Laplacian over that of the brightness. Sharp photos: above 0.1."""


def flaws_of(image: Image.Image, size: tuple[int, int]) -> tuple[str, ...]:
    """Return the flaws of a photo: "tiny", "of a single colour", "very dark", "blurred".

    image: in any mode, at least SIDE pixels wide and high if the photo is; size: of the photo.
    """
    found = ["tiny"] if min(size) < _TINY else []
    grey = image.convert("L")
    if (factor := min(grey.size) // SIDE) > 1:
        grey = grey.reduce(factor)
    light = np.asarray(grey, np.float32)
    deviation = float(light.std())
    if deviation < _BLANK:
        found.append("of a single colour")
    elif float(np.percentile(light, 99)) < _DARK:
        found.append("very dark")
    elif min(light.shape) > 2 and _laplacian(light) < _BLURRED * deviation and not found:
        found.append("blurred")
    return tuple(found)


def _laplacian(light: NDArray[np.float32]) -> float:
    inner = light[1:-1, 1:-1]
    around = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    return float((around - 4 * inner).std())
