"""Convert any colour mode that Pillow decodes to 8-bit RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dspt.data.depth import bits_of, to_8_bits
from dspt.errors import ImageError

_PLAIN = frozenset(["1", "L", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "P"])
_WITH_ALPHA = frozenset(["LA", "La", "PA", "RGBA", "RGBa"])


def to_rgb(image: Image.Image, bits: int | None = None) -> Image.Image:
    """Return a new RGB image with transparency on white and deep samples scaled to 0..255.

    16-bit grey values are scaled from `bits`; default: those that they use, see `depth.bits_of`.
    32-bit integers are treated in the same way if they fit, floats as 0..1 or 0..255; other values
    are stretched from their minimum to their maximum. Raises ImageError for an unknown mode.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        samples = np.asarray(image)
        return _grey(to_8_bits(samples, bits or bits_of(samples)))
    if mode == "I":
        return _grey(_from_integers(np.asarray(image)))
    if mode == "F":
        return _grey(_from_floats(np.asarray(image)))
    if mode in _WITH_ALPHA or (mode in _PLAIN and "transparency" in image.info):
        return _on_white(image)
    if mode in _PLAIN:
        return image.convert("RGB")
    raise ImageError(f"the colour mode {mode} is not supported; save it as RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow converts premultiplied alpha only in two steps
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    rgb = Image.new("RGB", rgba.size, (255, 255, 255))
    rgb.paste(rgba, mask=rgba)
    return rgb


def _grey(samples: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(samples).convert("RGB")


def _from_integers(samples: NDArray[np.int32]) -> NDArray[np.uint8]:
    low, high = int(samples.min()), int(samples.max())
    if low >= 0 and high <= 0xFFFF:
        deep = samples.astype(np.uint16)
        return to_8_bits(deep, bits_of(deep))
    return _stretched(samples, low, high)


def _from_floats(samples: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = np.isfinite(samples)
    if not finite.any():
        return np.zeros(samples.shape, np.uint8)
    low = float(samples.min(where=finite, initial=np.inf))
    high = float(samples.max(where=finite, initial=-np.inf))
    if low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    return _stretched(samples, low, high)


def _stretched(
    samples: NDArray[np.int32] | NDArray[np.float32], low: float, high: float
) -> NDArray[np.uint8]:
    """Map `low`..`high` to 0..255; values that are not finite become 0."""
    scaled = np.empty(samples.shape, np.uint8)
    for target, row in zip(
        scaled, samples, strict=True
    ):  # by row: the whole image as float64 would be large
        with np.errstate(invalid="ignore"):  # a signalling NaN in a damaged file
            values = row.astype(np.float64)
        values = np.where(np.isfinite(values), values, low)
        target[:] = np.rint((values - low) * 255.0 / ((high - low) or 1.0))
    return scaled
