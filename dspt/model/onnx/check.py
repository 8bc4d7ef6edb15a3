"""Compare an exported file in ONNX Runtime with torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from dspt.backbones.base import Backbone
from dspt.errors import ExportError
from dspt.model.predict import ImageClassifier

MAX_DIFFERENCE = 1e-2
"""Largest accepted difference of a probability: the effect of 1 or 2 of 255 in a few pixels."""
_SHAPES = ((1.0, 1.0), (1.7, 1.3), (0.6, 1.9), (2.55, 2.01), (0.4, 0.5))
"""Height and width of the generated images, as multiples of the tower's input size."""


@dataclass(frozen=True)
class Comparison:
    """Answers of the file and of torch to the same images. `made_up`: generated images."""

    made_up: int
    given: int
    max_difference: float
    """Largest difference of any probability."""
    top1_equal: int
    """Images with the same most probable class."""
    undecided: int
    """Other images whose two best classes differ by no more than MAX_DIFFERENCE."""

    @property
    def images(self) -> int:
        return self.made_up + self.given

    def __str__(self) -> str:
        return (
            f"ONNX Runtime and torch on {self.made_up} generated and {self.given} given images: "
            f"same class for {self.top1_equal} of {self.images}; probabilities differ by at most "
            f"{self.max_difference:.1e}"
        )


def compare(
    file: Path, classifier: ImageClassifier, backbone: Backbone, images: Sequence[Image.Image]
) -> Comparison:
    """Run `file` on generated images and on `images`. Raises ExportError if the answers differ."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    made_up = _made_up(backbone.image_size)
    differences, equal, undecided = [], 0, 0
    for image in [*made_up, *images]:
        expected = _by_torch(image, classifier, backbone)
        [[found]] = session.run(["probabilities"], {"images": np.asarray(image)[None]})
        differences.append(float(np.abs(found - expected).max()))
        best, second = expected.argsort()[::-1][:2]
        if found.argmax() == best:
            equal += 1
        elif expected[best] - expected[second] <= MAX_DIFFERENCE:
            undecided += 1
    result = Comparison(len(made_up), len(images), max(differences), equal, undecided)
    # Written so that NaN fails the check.
    if not (result.max_difference <= MAX_DIFFERENCE and equal + undecided == result.images):
        raise ExportError(f"the exported graph gives different answers: {result}")
    return result


def _by_torch(
    image: Image.Image, classifier: ImageClassifier, backbone: Backbone
) -> NDArray[np.float32]:
    features = backbone.encode_image(backbone.preprocess(image)[None])
    found: NDArray[np.float32] = classifier.scores(features)[0].numpy()
    return found


def _made_up(side: int) -> list[Image.Image]:
    """Return the same coloured, noisy images of several shapes at each call."""
    rng = np.random.default_rng(0)
    found = []
    for tall, wide in _SHAPES:
        height, width = max(1, round(tall * side)), max(1, round(wide * side))
        blotches = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        smooth = np.asarray(blotches.resize((width, height), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 12, smooth.shape)
        found.append(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)))
    return found
