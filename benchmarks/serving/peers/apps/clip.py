"""What the peers' programs share: zero-shot classification by an open_clip checkpoint.

These programs run in the environments of the peers, where this repository is not installed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image

CLASSES = 10
THREADS = int(os.environ["PEER_THREADS"])

Rows = NDArray[np.float32]


class Classifier:
    """JPEGs to labels, in two steps so that a server can batch the second one."""

    def __init__(self) -> None:
        torch.set_num_threads(THREADS)
        model, _, self._preprocess = open_clip.create_model_and_transforms(
            os.environ["PEER_WEIGHTS"]
        )
        self._encode = _encoder(model.visual.eval(), os.environ["PEER_ENGINE"])
        width = self._encode(np.zeros((1, 3, 224, 224), np.float32)).shape[1]
        matrix = np.random.default_rng(0).standard_normal((width, CLASSES))
        self._classes: Rows = (matrix / np.linalg.norm(matrix, axis=0)).astype(np.float32)

    def crop(self, jpeg: bytes) -> Rows:
        """Decode, resize, crop and normalise: -> (3, H, W)."""
        pixels: torch.Tensor = self._preprocess(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        return pixels.numpy()

    def classify(self, crops: Sequence[Rows]) -> list[dict[str, Any]]:
        """Return an entry of the answer for each of (B, 3, H, W) crops."""
        features = self._encode(np.stack(crops))
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
        logits = 100 * features @ self._classes
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        return [
            {"file": "photo.jpg", "label": f"class {row.argmax()}", "score": float(row.max())}
            for row in scores
        ]


def _encoder(visual: torch.nn.Module, engine: str) -> Callable[[Rows], Rows]:
    if engine == "torch":

        def encode(crops: Rows) -> Rows:
            with torch.inference_mode():
                features: Rows = visual(torch.from_numpy(crops)).numpy()
            return features

        return encode
    import openvino

    torch.backends.mha.set_fastpath_enabled(False)  # OpenVINO has no such operator
    converted = openvino.convert_model(visual, example_input=torch.zeros(1, 3, 224, 224))
    settings = {
        "INFERENCE_NUM_THREADS": THREADS,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",  # as the service; the answers stay the same
    }
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    return lambda crops: compiled(crops)[0]
