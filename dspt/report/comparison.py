"""Compare two classifiers on the same labelled images and test the difference for significance.

Images that both get right or both get wrong carry no information about the difference. McNemar's
test (Psychometrika 1947), here the exact binomial form, tests whether the remaining images are
split evenly between A and B. The interval of the difference is the one of Agresti and Min
(Statistics in Medicine 2005): the Wald interval after adding half an image to each of the four
cells, which is accurate for few images too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dspt.errors import DatasetError, Problem
from dspt.report.evaluation import Z_95, wilson_interval

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Side:
    """Result of one of the two classifiers. Shares are in 0..1."""

    right: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95 % (Wilson)."""
    only_here: tuple[str, ...]
    """Classes that only this classifier has. Their images are not compared, but this classifier
    may still predict one of them."""


@dataclass(frozen=True)
class ClassRow:
    """Result on the images of one class."""

    name: str
    images: int
    a: float
    """Share that A gets right."""
    b: float


@dataclass(frozen=True)
class Comparison:
    """Result of A and B on the images whose class both have."""

    images: int
    left_out: int
    """Images not compared, because their class is missing in A or B."""
    a: Side
    b: Side
    per_class: tuple[ClassRow, ...]
    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    difference: float
    """Accuracy of B minus accuracy of A."""
    difference_interval: tuple[float, float]
    """95 % (Agresti and Min)."""
    p_value: float
    """Two-sided p-value of McNemar's exact test."""
    verdict: str
    """One sentence with the figures."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(
    truth: Sequence[str],
    predicted_by_a: Sequence[str],
    predicted_by_b: Sequence[str],
    classes_of_a: Collection[str],
    classes_of_b: Collection[str],
) -> Comparison:
    """Compare the predictions of A and B with the true classes: three sequences of length N.

    Each classifier predicts among all of its own classes. Raises DatasetError if no image has a
    class that both classifiers have.
    """
    both = set(classes_of_a) & set(classes_of_b)
    rows = [
        (name, a == name, b == name)
        for name, a, b in zip(truth, predicted_by_a, predicted_by_b, strict=True)
        if name in both
    ]
    if not rows:
        message = "no image has a class that both classifiers have, so they cannot be compared"
        raise DatasetError([Problem("", "nothing_to_compare", message)])
    cells = Counter((a, b) for _, a, b in rows)
    only_a, only_b = cells[True, False], cells[False, True]
    p_value = mcnemar(only_a, only_b)
    difference = (only_b - only_a) / len(rows)
    interval = _difference_interval(cells[True, True], only_a, only_b, cells[False, False])
    return Comparison(
        images=len(rows),
        left_out=len(truth) - len(rows),
        a=_side(sum(a for _, a, _ in rows), len(rows), classes_of_a, both),
        b=_side(sum(b for _, _, b in rows), len(rows), classes_of_b, both),
        per_class=_per_class(rows, [name for name in classes_of_a if name in both]),
        both_right=cells[True, True],
        only_a_right=only_a,
        only_b_right=only_b,
        both_wrong=cells[False, False],
        difference=difference,
        difference_interval=interval,
        p_value=p_value,
        verdict=_verdict(only_a, only_b, difference, interval, p_value),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    `only_a` and `only_b` count the images that only A and only B gets right.
    """
    n, less = only_a + only_b, min(only_a, only_b)
    # C(n, i) / 2^n as a logarithm: C(n, i) itself can have thousands of digits.
    scale = math.lgamma(n + 1) - n * math.log(2)
    tail = math.fsum(
        math.exp(scale - math.lgamma(i + 1) - math.lgamma(n - i + 1)) for i in range(less + 1)
    )
    return min(1.0, 2 * tail)


def p_text(p_value: float) -> str:
    """Return `= 0.012`, or `< 0.0001` for a very small value."""
    return f"= {p_value:.2g}" if p_value >= 0.0001 else "< 0.0001"


def _side(right: int, images: int, classes: Collection[str], both: Collection[str]) -> Side:
    only_here = tuple(name for name in classes if name not in both)
    return Side(right, right / images, wilson_interval(right, images), only_here)


def _per_class(
    rows: Sequence[tuple[str, bool, bool]], classes: Sequence[str]
) -> tuple[ClassRow, ...]:
    """Return a row for each of `classes` that has images, in their order."""
    images = Counter(name for name, _, _ in rows)
    by_a = Counter(name for name, a, _ in rows if a)
    by_b = Counter(name for name, _, b in rows if b)
    return tuple(
        ClassRow(name, images[name], by_a[name] / images[name], by_b[name] / images[name])
        for name in classes
        if images[name]
    )


def _difference_interval(
    both_right: int, only_a: int, only_b: int, both_wrong: int
) -> tuple[float, float]:
    n = both_right + only_a + only_b + both_wrong + 2
    a, b = only_a + 0.5, only_b + 0.5
    middle = (b - a) / n
    half = Z_95 * math.sqrt(a + b - (b - a) ** 2 / n) / n
    return max(-1.0, middle - half), min(1.0, middle + half)


def _verdict(
    only_a: int,
    only_b: int,
    difference: float,
    interval: tuple[float, float],
    p_value: float,
) -> str:
    low, high = interval
    if p_value >= SIGNIFICANT:
        result = "The difference is not significant"
    else:
        result = f"{'B' if difference > 0 else 'A'} is significantly better"
    return (
        f"{result} (McNemar p {p_text(p_value)}): B is right on {only_b} images that A gets wrong; "
        f"A is right on {only_a} that B gets wrong. Accuracy of B minus A: "
        f"{100 * difference:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})."
    )
