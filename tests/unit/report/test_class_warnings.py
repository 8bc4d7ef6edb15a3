"""Warnings about classes: not measured, far smaller, unknown to zero-shot."""

from __future__ import annotations

import numpy as np
import pytest

from dspt.report.class_warnings import imbalance_warning, unmeasured_warning, zero_shot_warning


def test_classes_without_a_figure_are_named() -> None:
    text = unmeasured_warning(["cat", "dog"])
    assert text.startswith("Not measured, because no image is left to measure on: cat, dog.")


@pytest.mark.parametrize(
    ("photos", "named"),
    [([24, 2], "b (2)"), ([10, 2, 1], "c (1), b (2)"), ([9, 2], None), ([1, 1], None)],
)
def test_far_smaller_classes_are_named(photos: list[int], named: str | None) -> None:
    text = imbalance_warning("abc"[: len(photos)], np.array(photos))
    if named is None:
        assert text is None
    else:
        assert text is not None
        assert f"than a ({photos[0]}): {named}. All" in text


def test_zero_shot_by_chance_points_to_class_names() -> None:
    labels = np.repeat([0, 1, 2], 8)
    predicted = np.array([0] * 8 + [0] * 8 + [2] * 6 + [0, 1])  # knows a and c, b never
    text = zero_shot_warning("abc", labels, predicted)
    assert text is not None
    assert text.startswith("Zero-shot is no better than chance for 1 of 3 classes: b.")
    assert "class_names" in text


def test_a_class_predicted_for_everything_is_not_known() -> None:
    text = zero_shot_warning("ab", np.repeat([0, 1], 8), np.zeros(16, int))
    assert text is not None
    assert "2 of 2 classes: a, b." in text


def test_few_photos_and_good_names_do_not_warn() -> None:
    labels = np.repeat([0, 1], [3, 20])
    assert zero_shot_warning("ab", labels, np.array([0, 0, 1] + [1] * 18 + [0] * 2)) is None
    mostly = np.where(np.arange(30) % 10 < 6, np.repeat([0, 1, 2], 10), 0)
    assert zero_shot_warning("abc", np.repeat([0, 1, 2], 10), mostly) is None
