"""How far photos are from those that a classifier was tuned on, to notice that they have changed.

The distance of a photo is 1 - the cosine between its embedding and the nearest class mean: 0 for a
photo like the mean of a class. The largest cosine to a class tells known from unknown photos
(Techapanurak, Suganuma & Okatani, ACCV 2020), and means are robust to wrong labels. It was chosen
among six distances: docs/benchmarks.md has the figures. No file of the classifier has photos, and
nothing here needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Means = NDArray[np.int8]

LOW_CONFIDENCE = 0.5
"""A prediction with a lower probability counts as uncertain."""
MAX_CLASSES = 2_000
"""Classifiers of more classes keep no means, which would be compared with each captured photo."""


def distances(means: Means, features: Vectors) -> Vectors:
    """Return the distance of each photo from the nearest class mean, 0..2: (N,).

    means: (K, D), whose lengths do not matter; features: (N, F), whose first D columns are the
    embedding.
    """
    known = means.astype(features.dtype)
    known /= (known**2).sum(axis=1, keepdims=True) ** 0.5
    own = features[:, : known.shape[1]]
    found: Vectors = 1 - (own @ known.T).max(axis=1) / (own**2).sum(axis=1) ** 0.5
    return found
