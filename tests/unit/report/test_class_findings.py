"""Findings about classes: not measured, far smaller, unknown to zero-shot."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dspt.report.class_findings import (
    imbalance_finding,
    names_finding,
    unmeasured_finding,
    zero_shot_finding,
    zero_shot_state,
)
from dspt.report.finding import HealthFinding


def zero_shot(
    classes: str, labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> HealthFinding | None:
    return zero_shot_finding(classes, zero_shot_state(len(classes), labels, predicted))


def test_classes_without_a_figure_are_named() -> None:
    found = unmeasured_finding(["cat", "dog"])
    assert found.text.startswith("Not measured, because no image is left to measure on: cat, dog.")
    assert (found.severity, found.count, found.classes) == ("warning", 2, ("cat", "dog"))
    assert "test/" in found.fix


@pytest.mark.parametrize(
    ("photos", "named"),
    [([24, 2], "b (2)"), ([10, 2, 1], "c (1), b (2)"), ([9, 2], None), ([1, 1], None)],
)
def test_far_smaller_classes_are_named(photos: list[int], named: str | None) -> None:
    found = imbalance_finding("abc"[: len(photos)], np.array(photos))
    if named is None:
        assert found is None
    else:
        assert found is not None
        assert f"than a ({photos[0]}): {named}. Small" in found.text
        assert found.count == len(found.classes) == named.count("(")


def test_zero_shot_by_chance_points_to_class_names() -> None:
    labels = np.repeat([0, 1, 2], 8)
    predicted = np.array([0] * 8 + [0] * 8 + [2] * 6 + [0, 1])  # knows a and c, b never
    found = zero_shot("abc", labels, predicted)
    assert found is not None
    assert found.text.startswith("Zero-shot is no better than chance for 1 of 3 classes: b.")
    assert "class_names" in found.fix
    assert found.classes == ("b",)


def test_a_class_predicted_for_everything_is_not_known() -> None:
    found = zero_shot("ab", np.repeat([0, 1], 8), np.zeros(16, int))
    assert found is not None
    assert "2 of 2 classes: a, b." in found.text


def test_few_photos_and_good_names_do_not_warn() -> None:
    labels = np.repeat([0, 1], [3, 20])
    assert zero_shot("ab", labels, np.array([0, 0, 1] + [1] * 18 + [0] * 2)) is None
    mostly = np.where(np.arange(30) % 10 < 6, np.repeat([0, 1, 2], 10), 0)
    assert zero_shot("abc", np.repeat([0, 1, 2], 10), mostly) is None


def test_names_without_a_meaning_point_to_class_names() -> None:
    found = names_finding(["class_0", "class_1"])
    assert "class_0, class_1" in found.text
    assert "class_names" in found.fix
