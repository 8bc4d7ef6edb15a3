"""Evaluate a classifier on labelled images: accuracy with its interval, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:  # the service compares models without torch
    from torch import Tensor

CALIBRATION_BINS = 15
"""As in Guo et al., ICML 2017."""

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution: two-sided 95 %."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one classifier on one labelled set. Shares are in 0..1."""

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95 % (Wilson); wide for few images."""
    per_class: dict[str, float | None]
    """Accuracy by class, in the order of the classes; None for a class without images."""
    confusion: tuple[tuple[int, ...], ...]
    """(C, C) counts; row = label, column = prediction."""
    calibration_error: float
    """Expected calibration error: mean distance between confidence and accuracy."""
    balanced_accuracy: float
    """Mean of `per_class` over the classes with images: each class counts the same."""
    per_class_interval: dict[str, tuple[float, float] | None]
    """95 % (Wilson) around `per_class`."""

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Classes without images: the accuracy does not apply to them."""
        return tuple(name for name, share in self.per_class.items() if share is None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without NaN or infinity."""
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "per_class": dict(self.per_class),
            "confusion": [list(row) for row in self.confusion],
            "calibration_error": self.calibration_error,
            "balanced_accuracy": self.balanced_accuracy,
            "per_class_interval": {
                name: interval and list(interval)
                for name, interval in self.per_class_interval.items()
            },
        }


def evaluate(
    probabilities: ArrayLike | Tensor, labels: ArrayLike | Tensor, classes: Sequence[str]
) -> Evaluation:
    """Compare the most probable class of every image (the first one of a tie) with its label.

    probabilities: (N, C), rows summing to 1; labels: (N,) in 0..C-1; classes: C distinct names.
    Raises ValueError for zero images, shapes that do not match, labels out of range, duplicate
    class names, or rows that are not probabilities (logits, NaN).
    """
    p, y = _checked(probabilities, labels, classes)
    predicted = p.argmax(1)
    right = predicted == y
    n_classes = len(classes)
    confusion = np.bincount(y * n_classes + predicted, minlength=n_classes**2)
    confusion = confusion.reshape(n_classes, n_classes)
    hits, counts = confusion.diagonal(), confusion.sum(1)
    return Evaluation(
        images=len(y),
        accuracy=float(right.mean()),
        accuracy_interval=wilson_interval(int(right.sum()), len(y)),
        per_class={
            name: int(hit) / int(n) if n else None
            for name, hit, n in zip(classes, hits, counts, strict=True)
        },
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration_error=expected_calibration_error(p.max(1), right),
        balanced_accuracy=float((hits[counts > 0] / counts[counts > 0]).mean()),
        per_class_interval={
            name: wilson_interval(int(hit), int(n)) if n else None
            for name, hit, n in zip(classes, hits, counts, strict=True)
        },
    )


def expected_calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> float:
    """Return the sum over bins of (n_b / N) |accuracy_b - confidence_b|.

    confidence: (N,) probability of the predicted class; right: (N,) whether it equals the label.
    The bins ((b - 1) / bins, b / bins] have equal width. Guo et al., ICML 2017, eq. 5.
    """
    edges = np.arange(1, bins) / bins
    bin_of = np.digitize(confidence, edges, right=True)
    # n_b |accuracy_b - confidence_b| is the absolute difference of the two sums over the bin.
    gap = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson, JASA 1927).

    It is accurate for few trials and for shares of 0 and 1, too.
    Raises ValueError unless 0 <= successes <= trials and trials > 0.
    """
    if not (trials > 0 and 0 <= successes <= trials):
        raise ValueError(f"{successes} successes in {trials} trials are impossible")
    share, z2 = successes / trials, Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 / (1 + z2 / trials)
    half *= math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    # At 0 and 1 the ends are exact; rounding must not exceed them.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def _checked(
    probabilities: ArrayLike | Tensor, labels: ArrayLike | Tensor, classes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p = np.asarray(_to_numpy(probabilities), dtype=np.float64)
    y = np.asarray(_to_numpy(labels))
    if p.ndim != 2 or y.shape != p.shape[:1] or p.shape[1] != len(classes):
        raise ValueError(
            f"probabilities of shape {p.shape}, labels of shape {y.shape} and {len(classes)} "
            "classes do not match; expected (N, C), (N,) and C"
        )
    if not len(y):
        raise ValueError("no images to evaluate on")
    if len(set(classes)) != len(classes):
        raise ValueError("class names must be distinct")
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels must be integers, not {y.dtype}")
    if y.min() < 0 or y.max() >= len(classes):
        raise ValueError(f"labels must be in 0..{len(classes) - 1}, found {y.min()} to {y.max()}")
    # The tolerance accepts a softmax in half precision over many classes, and rejects logits.
    wrong = ~((p >= 0).all(1) & (np.abs(p.sum(1) - 1) < 0.02))
    if wrong.any():
        raise ValueError(f"row {int(wrong.argmax())} must be probabilities that sum to 1")
    return p, y.astype(np.int64)


def _to_numpy(values: ArrayLike | Tensor) -> ArrayLike:
    from torch import Tensor

    if not isinstance(values, Tensor):
        return values
    values = values.detach().cpu()
    # numpy has no bfloat16.
    return (values.double() if values.is_floating_point() else values).numpy()
