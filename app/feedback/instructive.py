"""Choose the photos whose labels would teach a model the most: typical, different, uncertain.

The least certain photos alone may be unlike their class, whose mean they then move: their labels
cost more accuracy in the worst case. docs/benchmarks.md has the figures.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

#: More clusters than these would take more than a second or two.
_MAX_CLUSTERS = 100
_ROUNDS = 5
#: Fewer at once teach no more, and take longer.
_AT_ONCE = 10


def choose(features: Vectors, margins: ArrayLike, count: int, *, known: Vectors) -> list[int]:
    """Return up to `count` row numbers of `features`, the most instructive first.

    A few at a time: those chosen before count as known.

    features: (N, F); margins: (N,), probability of the most likely class minus that of the second
    one; known: (M, F), of photos that have a label already.
    """
    certainty = np.asarray(margins)
    chosen: list[int] = []
    while len(chosen) < min(count, len(features)):
        free = np.setdiff1d(np.arange(len(features)), chosen)
        labelled = np.concatenate([known, features[chosen]]) if len(known) else features[chosen]
        more = min(max(_AT_ONCE, count // 4), count - len(chosen))
        rows = _choose(features[free], certainty[free], more, labelled)
        chosen += free[rows].tolist()
    return chosen


def _choose(
    features: Vectors, certainty: NDArray[np.float64], count: int, known: Vectors
) -> list[int]:
    """Return up to `count` row numbers.

    The photos are divided into as many clusters as there are photos to choose or known. From each
    cluster comes the least certain photo of the half that is nearest to its centre; clusters
    without a known photo come first, and the largest of them (Hacohen, Dekel & Weinshall, ICML
    2022, who choose the most typical photo).
    """
    n = len(features)
    everything = np.concatenate([features, known])
    nearest, distance = _clusters(everything, min(count + len(known), _MAX_CLUSTERS))
    found = []
    for cluster in np.unique(nearest[:n]):
        rows = np.flatnonzero(nearest[:n] == cluster)
        typical = rows[np.argsort(distance[rows], kind="stable")[: -(-len(rows) // 2)]]
        best = int(typical[certainty[typical].argmin()])
        found.append((int((nearest[n:] == cluster).sum()), -len(rows), best))
    return [best for _, _, best in sorted(found)][:count]


def decoded(features: Sequence[str]) -> Vectors:
    """Return the features of N captured predictions, (N, F)."""
    rows = [np.frombuffer(base64.b64decode(each), np.float16) for each in features]
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, 0), np.float32)


def _clusters(points: Vectors, count: int) -> tuple[NDArray[np.int64], Vectors]:
    """Divide (N, F) points by k-means; fewer clusters than `count` if few points differ.

    Returns the cluster of each point, (N,), and the squared distance to its centre, (N,).
    """
    centres = points[_spread(points, count)]
    for _ in range(_ROUNDS):
        squared = _distances(points, centres)
        nearest = squared.argmin(axis=1)
        member = np.eye(len(centres), dtype=np.float32)[nearest]
        sizes = member.sum(axis=0)[:, None]
        centres = np.where(sizes > 0, member.T @ points / np.maximum(sizes, 1), centres)
    squared = _distances(points, centres)
    return squared.argmin(axis=1), squared.min(axis=1)


def _spread(points: Vectors, count: int) -> list[int]:
    """Return rows far from each other, as k-means++ draws them (Arthur & Vassilvitskii, 2007)."""
    rng = np.random.default_rng(0)
    squares = (points**2).sum(axis=1)
    chosen = [int(rng.integers(len(points)))]
    distance = np.full(len(points), np.inf)
    while True:
        row = chosen[-1]
        to_last = squares + squares[row] - 2 * points @ points[row]
        distance = np.minimum(distance, np.maximum(0, to_last.astype(float)))
        if len(chosen) == count or distance.max() < 1e-6:
            return chosen
        chosen.append(int(rng.choice(len(points), p=distance / distance.sum())))


def _distances(points: Vectors, centres: Vectors) -> Vectors:
    """(N, F), (K, F) -> squared distances (N, K)."""
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    found: Vectors = np.maximum(0, squares - 2 * points @ centres.T)
    return found
