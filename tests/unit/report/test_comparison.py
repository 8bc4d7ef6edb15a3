"""Two classifiers on the same images."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest

from dspt.errors import DatasetError
from dspt.report.comparison import Comparison, compare, mcnemar


def of_cells(both_right: int, only_a: int, only_b: int, both_wrong: int) -> Comparison:
    says = [("x", "x"), ("x", "y"), ("y", "x"), ("y", "y")]
    counts = (both_right, only_a, only_b, both_wrong)
    rows = [said for said, count in zip(says, counts, strict=True) for _ in range(count)]
    a, b = zip(*rows, strict=True)
    return compare(["x"] * len(rows), a, b, ("x", "y"), ("x", "y"))


@pytest.mark.parametrize("only_a", [0, 1, 5, 12, 40])
@pytest.mark.parametrize("only_b", [0, 3, 12, 37])
def test_mcnemar_is_the_binomial_test(only_a: int, only_b: int) -> None:
    n, less = only_a + only_b, min(only_a, only_b)
    exact = Fraction(2 * sum(math.comb(n, i) for i in range(less + 1)), 2**n)
    assert mcnemar(only_a, only_b) == pytest.approx(float(min(Fraction(1), exact)), rel=1e-9)


def test_mcnemar_of_very_many_images() -> None:
    assert mcnemar(60_000, 60_000) == pytest.approx(1.0, abs=0.01)
    assert 0 <= mcnemar(10, 100_000) < 1e-300
    # Agresti, Categorical Data Analysis, table 10.1: chi squared 17.4, so p about 3e-5.
    assert mcnemar(86, 150) == pytest.approx(3.7e-5, rel=0.05)


def test_counts_accuracies_and_the_difference() -> None:
    found = of_cells(50, 10, 25, 15)
    assert (found.both_right, found.only_a_right, found.only_b_right) == (50, 10, 25)
    assert (found.both_wrong, found.images, found.left_out) == (15, 100, 0)
    assert (found.a.accuracy, found.b.accuracy) == (0.6, 0.75)
    assert found.difference == pytest.approx(0.15)
    # by hand: (25.5 - 10.5) / 102 -+ 1.96 sqrt(36 - 225 / 102) / 102
    assert found.difference_interval == pytest.approx((0.0354, 0.2587), abs=1e-4)
    assert found.a.accuracy_interval[0] < 0.6 < found.a.accuracy_interval[1]
    assert found.verdict == (
        "B is significantly better (McNemar p = 0.017): B is right on 25 images that A gets wrong; "
        "A is right on 10 that B gets wrong. Accuracy of B minus A: +15.0 points "
        "(95 % interval +3.5 to +25.9)."
    )
    json.dumps(found.to_dict(), allow_nan=False)


def test_swapping_a_and_b_negates_the_difference() -> None:
    there, back = of_cells(50, 10, 25, 15), of_cells(50, 25, 10, 15)
    assert back.p_value == there.p_value
    assert back.difference == -there.difference
    assert back.verdict.startswith("A is significantly better (")


def test_difference_above_the_threshold_is_reported_as_not_significant() -> None:
    for cells in [(5, 3, 4, 0), (5, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0)]:
        found = of_cells(*cells)
        assert found.verdict.startswith("The difference is not significant (McNemar p ")
        assert -1 <= found.difference_interval[0] <= found.difference_interval[1] <= 1


def test_images_of_classes_that_one_does_not_know_are_left_out() -> None:
    found = compare(
        ["cat", "cat", "dog", "owl", "elk", "fox"],
        ["cat", "dog", "dog", "owl", "cat", "cat"],
        ["cat", "elk", "cat", "cat", "elk", "dog"],
        ["dog", "cat", "owl"],
        ["cat", "dog", "elk"],
    )
    assert (found.images, found.left_out) == (3, 3)
    assert (found.a.only_here, found.b.only_here) == (("owl",), ("elk",))
    rows = [(row.name, row.images, row.a, row.b) for row in found.per_class]
    assert rows == [("dog", 1, 1.0, 0.0), ("cat", 2, 0.5, 0.5)]


def test_nothing_to_compare_on() -> None:
    with pytest.raises(DatasetError, match="no image has a class that both classifiers have"):
        compare(["cat"], ["cat"], ["dog"], ["cat", "owl"], ["dog", "elk"])
