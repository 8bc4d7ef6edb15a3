"""Evaluation against figures worked out by hand, and what it refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dspt.report.evaluation import evaluate, expected_calibration_error, wilson_interval

CLASSES = ("ant", "bee", "cat")
PROBABILITIES = [
    [0.8, 0.1, 0.1],  # ant, right
    [0.2, 0.5, 0.3],  # ant, taken for a bee
    [0.1, 0.7, 0.2],  # bee, right
    [0.6, 0.3, 0.1],  # bee, taken for an ant
    [0.0, 1.0, 0.0],  # bee, right
]
LABELS = [0, 0, 1, 1, 1]


def test_figures_of_a_small_set() -> None:
    result = evaluate(PROBABILITIES, LABELS, CLASSES)
    assert result.images == 5
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.per_class == {"ant": 1 / 2, "bee": 2 / 3, "cat": None}
    assert result.confusion == ((1, 1, 0), (1, 2, 0), (0, 0, 0))
    assert result.accuracy_interval == wilson_interval(3, 5)
    # Every prediction falls in a bin of its own (widths of 1/15).
    assert result.calibration_error == pytest.approx((0.2 + 0.5 + 0.3 + 0.6 + 0.0) / 5)


def test_arrays_tensors_and_lists_agree() -> None:
    expected = evaluate(PROBABILITIES, LABELS, CLASSES)
    assert evaluate(np.array(PROBABILITIES), np.array(LABELS, dtype=np.int32), CLASSES) == expected
    tensor = torch.tensor(PROBABILITIES, dtype=torch.float64, requires_grad=True)
    assert evaluate(tensor, torch.tensor(LABELS), CLASSES) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_softmax_in_any_precision_over_many_classes_is_accepted(dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    p = torch.randn(8, 1000, generator=rng).softmax(-1).to(dtype)
    classes = [f"class {i}" for i in range(1000)]
    assert evaluate(p, p.argmax(-1), classes).accuracy == 1


def test_the_first_of_equally_likely_classes_is_predicted() -> None:
    assert evaluate([[0.5, 0.5]], [0], ("a", "b")).accuracy == 1
    assert evaluate([[0.5, 0.5]], [1], ("a", "b")).accuracy == 0


def test_the_dictionary_is_plain_json() -> None:
    result = evaluate(torch.tensor(PROBABILITIES), torch.tensor(LABELS), CLASSES)
    values = result.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert list(values["per_class"]) == list(CLASSES)
    assert values["per_class"]["cat"] is None
    assert values["confusion"][1] == [1, 2, 0]


@given(
    n_classes=st.integers(2, 20),
    images=st.integers(1, 60),
    sharpness=st.floats(0, 50),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_figures_fit_together(n_classes: int, images: int, sharpness: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    p = (torch.randn(images, n_classes, generator=rng, dtype=torch.float64) * sharpness).softmax(-1)
    labels = torch.randint(n_classes, (images,), generator=rng)
    result = evaluate(p, labels, [str(i) for i in range(n_classes)])
    confusion = np.array(result.confusion)
    assert confusion.sum() == images
    assert confusion.sum(1).tolist() == torch.bincount(labels, minlength=n_classes).tolist()
    assert confusion.sum(0).tolist() == torch.bincount(p.argmax(1), minlength=n_classes).tolist()
    assert result.accuracy == pytest.approx(np.trace(confusion) / images)
    assert 0 <= result.accuracy_interval[0] <= result.accuracy <= result.accuracy_interval[1] <= 1
    gap = abs(p.max(1).values.mean().item() - result.accuracy)
    assert gap - 1e-12 <= result.calibration_error <= 1


# Calibration


def test_calibration_error_averages_within_a_bin_before_it_compares() -> None:
    # Bin (10/15, 11/15]: confidence 0.7, accuracy 3/4. Bin (14/15, 1]: 0.95 and 1/2.
    confidence = np.array([0.68, 0.72, 0.69, 0.71, 0.94, 0.96])
    right = np.array([True, True, False, True, True, False])
    expected = 4 / 6 * abs(0.75 - 0.7) + 2 / 6 * abs(0.5 - 0.95)
    assert expected_calibration_error(confidence, right) == pytest.approx(expected)


def test_bins_include_their_upper_edge() -> None:
    confidence, right = np.array([0.5, 0.4, 0.6]), np.array([True, False, False])
    # (0, .5] takes .4 and .5, (.5, 1] takes .6.
    expected = 2 / 3 * abs(0.5 - 0.45) + 1 / 3 * 0.6
    assert expected_calibration_error(confidence, right, bins=2) == pytest.approx(expected)


def test_certain_answers_are_calibrated_when_right_and_worst_when_wrong() -> None:
    certain = np.ones(4)
    assert expected_calibration_error(certain, np.ones(4, dtype=bool)) == 0
    assert expected_calibration_error(certain, np.zeros(4, dtype=bool)) == 1


# Wilson's interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 1998, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_gives_published_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000), st.data())
@settings(deadline=None)
def test_wilson_interval_solves_its_equation(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    share = successes / trials
    for end in wilson_interval(successes, trials):
        # The ends are where the share lies 1.96 standard errors of that end away.
        distance = 1.959963984540054 * math.sqrt(end * (1 - end) / trials)
        assert abs(share - end) == pytest.approx(distance, abs=1e-9)
    low, high = wilson_interval(successes, trials)
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_interval_ends_exactly_at_zero_and_one() -> None:
    for trials in range(1, 200):
        assert wilson_interval(0, trials)[0] == 0
        assert wilson_interval(trials, trials)[1] == 1


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_interval_refuses_impossible_counts(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson_interval(successes, trials)


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 0, 1]}, r"\(5, 3\), labels of shape \(3,\) and 3 classes do not match"),
        ({"classes": ("ant", "bee")}, "2 classes do not match"),
        ({"probabilities": [0.5, 0.5]}, "do not match"),
        ({"probabilities": np.zeros((0, 3)), "labels": []}, "no images to evaluate"),
        ({"classes": ("ant", "bee", "ant")}, "must be distinct"),
        ({"labels": [0, 0, 1, 1, 3]}, r"labels must be in 0\.\.2, found 0 to 3"),
        ({"labels": [0, 0, 1, 1, -1]}, r"labels must be in 0\.\.2, found -1 to 1"),
        ({"labels": [0.0, 0.0, 1.0, 1.0, 1.0]}, "integers, not float64"),
        (
            {"probabilities": [[0.2, 0.5, 0.3]] * 4 + [[2.0, 1.0, 3.0]]},
            "row 4 must be prob",
        ),
        ({"probabilities": [[0.2, 0.5, 0.3], [1.5, -0.5, 0]] + [[1, 0, 0]] * 3}, "row 1"),
        ({"probabilities": [[math.nan, 0.5, 0.5]] * 5}, "row 0"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    arguments = {"probabilities": PROBABILITIES, "labels": LABELS, "classes": CLASSES}
    with pytest.raises(ValueError, match=message):
        evaluate(**arguments | change)  # type: ignore[arg-type]
