"""An exported file in ONNX Runtime, held against torch."""

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
"""Most that a probability may differ by: what one or two of 255 in a few pixels may do."""
_SHAPES = ((1.0, 1.0), (1.7, 1.3), (0.6, 1.9), (2.55, 2.01), (0.4, 0.5))
"""Height and width of made-up images, as multiples of what the tower sees."""


@dataclass(frozen=True)
class Comparison:
    """Answers of the file and of torch to the same images."""

    made_up: int
    given: int
    max_difference: float
    """Of any probability."""
    top1_equal: int
    """Images whose likeliest class is the same."""
    undecided: int
    """Of the others, those whose best two classes are as near to each other as the tolerance."""

    @property
    def images(self) -> int:
        return self.made_up + self.given

    def __str__(self) -> str:
        return (
            f"ONNX Runtime and torch on {self.made_up} made-up and {self.given} given images: the "
            f"same class for {self.top1_equal} of {self.images}; probabilities differ by at most "
            f"{self.max_difference:.1e}"
        )


def compare(
    file: Path, classifier: ImageClassifier, backbone: Backbone, images: Sequence[Image.Image]
) -> Comparison:
    """Run `file` on made-up images and on `images`. Raises ExportError where it is not equal."""
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
    # Not a number is no equality either.
    if not (result.max_difference <= MAX_DIFFERENCE and equal + undecided == result.images):
        raise ExportError(f"the exported graph computes something else: {result}")
    return result


def _by_torch(
    image: Image.Image, classifier: ImageClassifier, backbone: Backbone
) -> NDArray[np.float32]:
    features = backbone.encode_image(backbone.preprocess(image)[None])
    found: NDArray[np.float32] = classifier.scores(features)[0].numpy()
    return found


def _made_up(side: int) -> list[Image.Image]:
    """Coloured blotches under noise, in several shapes; the same each time."""
    rng = np.random.default_rng(0)
    found = []
    for tall, wide in _SHAPES:
        height, width = max(1, round(tall * side)), max(1, round(wide * side))
        blotches = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        smooth = np.asarray(blotches.resize((width, height), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 12, smooth.shape)
        found.append(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)))
    return found
