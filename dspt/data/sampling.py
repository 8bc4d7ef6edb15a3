"""Which images to use: few shots, a held-out part, folds. All by seed, every class in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]


def few_shot(labels: ArrayLike, shots: int, seed: int) -> Indices:
    """At most `shots` images of every class, drawn at random.

    labels: (N,) class of each image. Returns sorted indices into it.
    """
    if shots < 1:
        raise ValueError(f"shots must be at least 1, not {shots}")
    drawn = [members[:shots] for members in _shuffled_classes(labels, seed)]
    return _sorted(drawn)


def stratified_holdout(labels: ArrayLike, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out about `fraction` of every class.

    A class of two or more images has at least one on either side; a class of one stays in
    training. Returns the sorted indices (training, held out).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, not {fraction}")
    kept, held = [], []
    for members in _shuffled_classes(labels, seed):
        n_held = min(len(members) - 1, max(1, round(fraction * len(members))))
        held.append(members[:n_held])
        kept.append(members[n_held:])
    return _sorted(kept), _sorted(held)


def stratified_folds(labels: ArrayLike, k: int, seed: int) -> list[Indices]:
    """Deal the images into `k` folds, or as many as there are images if that is less.

    The folds differ by one image at most, in every class and as a whole. A class with fewer
    images than folds is missing from some folds, and a class of one image is missing from the
    rest of its own fold. Returns the sorted indices of each fold.
    """
    if k < 2:
        raise ValueError(f"k must be at least 2, not {k}")
    classes = _shuffled_classes(labels, seed)
    dealt = np.concatenate([*classes, np.empty(0, np.int64)])
    if len(dealt) < 2:
        raise ValueError("folds need at least two images")
    k = min(k, len(dealt))
    return [np.sort(dealt[fold::k]) for fold in range(k)]


def _shuffled_classes(labels: ArrayLike, seed: int) -> list[Indices]:
    """The indices of every class, each in random order, the classes in random order too."""
    array = np.asarray(labels, dtype=np.int64)
    if array.ndim != 1:
        raise ValueError(f"labels must have one dimension, not {array.ndim}")
    rng = np.random.default_rng(seed)
    classes = [rng.permutation(np.flatnonzero(array == c)) for c in np.unique(array)]
    return [classes[i] for i in rng.permutation(len(classes))]


def _sorted(parts: Sequence[Indices]) -> Indices:
    return np.sort(np.concatenate([*parts, np.empty(0, np.int64)]))
