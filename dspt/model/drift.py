"""How far photos are from those that a classifier was tuned on, to notice that they have changed.

The distance of a photo is 1 - the cosine between its features and the nearest class mean: 0 for a
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
    Means = NDArray[np.float16]

LOW_CONFIDENCE = 0.5
"""A prediction with a lower probability counts as uncertain."""
MAX_CLASSES = 2_000
"""Classifiers of more classes keep no means: they are as large as the class matrix."""


def distances(means: Means, features: Vectors) -> Vectors:
    """Return the distance of each photo from the nearest class mean, 0..2: (N,).

    means: (K, F), of unit length, in float16 to halve the file; features: (N, F).
    """
    lengths = (features**2).sum(axis=1) ** 0.5
    found: Vectors = 1 - (features @ means.T.astype(features.dtype)).max(axis=1) / lengths
    return found
