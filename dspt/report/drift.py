"""What a classifier's own held-out photos look like, to compare later photos with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dspt.model.drift import LOW_CONFIDENCE, MAX_CLASSES, distances

if TYPE_CHECKING:
    from dspt.model.drift import Means, Vectors

_FAR = 0.95
"""Quantile of the distances of held-out photos beyond which a photo is far."""


def class_means(embeddings: Vectors, labels: NDArray[np.int64]) -> Means | None:
    """Return the direction of the mean of each class that has photos, in whole numbers: (K, D).

    embeddings: (N, D); labels: (N,). None if there are more than MAX_CLASSES.
    """
    classes = np.unique(labels)
    if len(classes) > MAX_CLASSES:
        return None
    means = np.stack([embeddings[labels == each].mean(0) for each in classes])
    found: Means = np.rint(127 * means / np.abs(means).max(1, keepdims=True)).astype(np.int8)
    return found


def drift_baseline(
    scores: NDArray[np.float64], means: Means | None, embeddings: Vectors
) -> dict[str, Any]:
    """Return the figures of photos that were not tuned on, for `metrics`.

    scores: (N,), probability of the most likely class, N > 0; embeddings: (N, D); means: of
    `class_means`.
    """
    found: dict[str, Any] = {
        "images": len(scores),
        "low_confidence": float((scores < LOW_CONFIDENCE).mean()),
        "distance": None,
        "far": None,
        "far_beyond": None,
    }
    if means is not None:
        each = distances(means, embeddings).astype(np.float64)
        limit = float(np.quantile(each, _FAR))
        found |= {
            "distance": float(each.mean()),
            "far": float((each > limit).mean()),
            "far_beyond": limit,
        }
    return found
