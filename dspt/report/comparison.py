"""Two classifiers on the same labelled images: which is right more often, and could it be chance?

Both see every image, so the images on which both are right, or both wrong, say nothing about the
difference. McNemar's test (Psychometrika 1947) asks of the others whether either classifier is as
likely to be the right one: here exactly, by the binomial distribution. The interval for the
difference is Agresti and Min's (Statistics in Medicine 2005): Wald's with half an image more in
each of the four cells, which holds for few images.
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
    """One of the two classifiers. Shares are in 0..1."""

    right: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95 % (Wilson)."""
    only_here: tuple[str, ...]
    """Classes that the other does not know. Their images are left out, but it may still take an
    image for one of them."""


@dataclass(frozen=True)
class ClassRow:
    """The images of one class."""

    name: str
    images: int
    a: float
    """Share that A gets right."""
    b: float


@dataclass(frozen=True)
class Comparison:
    """A against B on the images whose class both know."""

    images: int
    left_out: int
    """Images whose class one of them does not know."""
    a: Side
    b: Side
    per_class: tuple[ClassRow, ...]
    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    difference: float
    """Accuracy of B less that of A."""
    difference_interval: tuple[float, float]
    """95 % (Agresti and Min)."""
    p_value: float
    """Of McNemar's exact test, two-sided: how likely so uneven a split would be by chance."""
    verdict: str
    """One sentence with the figures."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(
    truth: Sequence[str],
    said_by_a: Sequence[str],
    said_by_b: Sequence[str],
    classes_of_a: Collection[str],
    classes_of_b: Collection[str],
) -> Comparison:
    """Compare what A and B say about images with these true classes: three of length N.

    Each chooses among all of its own classes. Raises DatasetError if there is no image whose class
    both know.
    """
    both = set(classes_of_a) & set(classes_of_b)
    rows = [
        (name, a == name, b == name)
        for name, a, b in zip(truth, said_by_a, said_by_b, strict=True)
        if name in both
    ]
    if not rows:
        message = "there is no image whose class both classifiers know: nothing to compare them on"
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
    """Two-sided exact p-value of McNemar's test, of the images that one alone gets right."""
    n, less = only_a + only_b, min(only_a, only_b)
    # C(n, i) / 2^n by its logarithm: the numbers themselves have thousands of digits.
    scale = math.lgamma(n + 1) - n * math.log(2)
    tail = math.fsum(
        math.exp(scale - math.lgamma(i + 1) - math.lgamma(n - i + 1)) for i in range(less + 1)
    )
    return min(1.0, 2 * tail)


def _side(right: int, images: int, classes: Collection[str], both: Collection[str]) -> Side:
    only_here = tuple(name for name in classes if name not in both)
    return Side(right, right / images, wilson_interval(right, images), only_here)


def _per_class(
    rows: Sequence[tuple[str, bool, bool]], classes: Sequence[str]
) -> tuple[ClassRow, ...]:
    """Those of `classes` that have images, in their order."""
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
    figures = (
        f"B is right on {only_b} images that A gets wrong, and wrong on {only_a} that A gets right "
        f"({100 * difference:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}; "
        f"McNemar p {f'= {p_value:.2g}' if p_value >= 0.0001 else '< 0.0001'})"
    )
    if p_value >= SIGNIFICANT:
        return f"No difference that could not be chance: {figures}."
    return f"{'B' if difference > 0 else 'A'} is better: {figures}."
