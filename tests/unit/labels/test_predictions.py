"""Auditing with predictions made elsewhere: ranking, noise rate, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dspt
from dspt.labels.inject import flip_labels

N, C = 240, 6


def sample(
    rate: float = 0.25, sharpness: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Labels, out-of-sample probabilities of a good model, and which labels are wrong.

    sharpness: factor on the logits; 1 is calibrated.
    """
    random = np.random.default_rng(3)
    logits = 2.5 * random.standard_normal((N, C))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.array([random.choice(C, p=row) for row in p])
    labels = np.array(flip_labels(truth, C, rate, "symmetric", "global", seed=1).labels)
    shown = np.exp(sharpness * logits)
    return labels, shown / shown.sum(1, keepdims=True), labels != truth


def test_ranks_wrong_labels_first_and_estimates_their_share() -> None:
    from sklearn.metrics import roc_auc_score

    labels, probabilities, wrong = sample()
    report = dspt.audit_probabilities(labels, probabilities)
    assert report.can_tell
    order = [int(entry.file) for entry in report.entries]
    assert sorted(order) == list(range(N))
    scores = np.empty(N)
    scores[order] = [entry.score for entry in report.entries]
    by_model = 1 - probabilities[np.arange(N), labels]
    assert roc_auc_score(wrong, scores) >= roc_auc_score(wrong, by_model) - 0.005
    assert report.noise_rate is not None
    assert report.noise_rate.low <= wrong.mean() <= report.noise_rate.high
    found = wrong[[int(entry.file) for entry in report.suspects]]
    assert found.mean() > 0.6
    assert found.sum() > 0.6 * wrong.sum()
    first = report.entries[0]
    assert (first.given, first.p_zero_shot) == (str(labels[order[0]]), None)
    assert first.suggested == str(probabilities[order[0]].argmax())
    assert json.loads(json.dumps(report.to_dict()))["entries"][0]["file"] == first.file


@pytest.mark.parametrize("sharpness", [0.4, 3.0])
def test_a_model_that_is_too_sure_or_unsure_gives_about_the_same_rate(sharpness: float) -> None:
    labels, probabilities, wrong = sample(sharpness=sharpness)
    rate = dspt.audit_probabilities(labels, probabilities).noise_rate
    assert rate is not None
    assert abs(rate.estimate - wrong.mean()) < 0.08


def test_labels_may_be_names_of_classes_or_columns() -> None:
    labels, probabilities, _ = sample()
    names = [f"class {chr(ord('f') - column)}" for column in range(C)]
    by_column = dspt.audit_probabilities(labels, probabilities, classes=names)
    by_name = dspt.audit_probabilities(
        np.array(names)[labels].tolist(),
        probabilities,
        classes=names,
        files=list(map(str, range(N))),
    )
    assert by_name == by_column
    assert {entry.given for entry in by_name.entries} == set(names)
    # Without names, text labels are in sorted order.
    ordered = sorted(names)
    columns = [names.index(name) for name in ordered]
    unnamed = dspt.audit_probabilities(np.array(names)[labels], probabilities[:, columns])
    assert [e.file for e in unnamed.entries] == [e.file for e in by_name.entries]
    assert [e.given for e in unnamed.entries] == [e.given for e in by_name.entries]
    floats = dspt.audit_probabilities(labels.astype(float), probabilities)
    assert floats == dspt.audit_probabilities(labels, probabilities)


def test_rounded_probabilities_are_accepted() -> None:
    labels, probabilities, _ = sample()
    exact = dspt.audit_probabilities(labels, probabilities)
    rounded = dspt.audit_probabilities(labels, probabilities.round(3).astype(np.float32))
    assert rounded.suspects[0].file in [entry.file for entry in exact.suspects]


def test_certain_predictions_give_finite_scores() -> None:
    labels = np.arange(40) % 2
    probabilities = np.eye(2)[labels]
    probabilities[7] = [1, 0]  # the label is 1
    report = dspt.audit_probabilities(labels, probabilities)
    assert report.entries[0].file == "7"
    assert all(0 <= entry.score <= 1 for entry in report.entries)


def test_labels_at_random_are_not_marked() -> None:
    _, probabilities, _ = sample()
    report = dspt.audit_probabilities(np.random.default_rng(1).integers(C, size=N), probabilities)
    assert not report.can_tell
    assert not report.suspects
    assert report.noise_rate is None


def rows(*values: list[float]) -> NDArray[np.float64]:
    return np.array([[0.5, 0.5], *values])


@pytest.mark.parametrize(
    ("labels", "probabilities", "options", "message"),
    [
        ([0, 1], [0.5, 0.5], {}, r"must have the shape \(N, C\).*not \(2,\)"),
        ([0, 1], [[1.0], [1.0]], {}, r"at least two classes, not \(2, 1\)"),
        ([0, 1], [["a", "b"], ["c", "d"]], {}, "must be a matrix of numbers"),
        ([0, 1], [[0.5, 0.5], [1.0]], {}, "must be a matrix of numbers"),
        ([0, 1, 1], rows([0.1, 0.9]), {}, r"labels have the shape \(3,\).*have 2 rows"),
        ([[0, 1]], rows([0.1, 0.9]), {}, r"labels have the shape \(1, 2\)"),
        ([0, 1], rows([0.1, 0.8]), {}, r"row 1 of the probabilities does not sum to 1: 0.9 \(1 of"),
        ([0, 1], rows([-3.0, 4.0]), {}, "row 1 .*below 0 or above 1; apply a softmax.*: -3, 4"),
        ([0, 1], rows([np.nan, 1.0]), {}, "row 1 of the probabilities has a value that is not fin"),
        ([0, 2], rows([0.1, 0.9]), {}, r"label '2' in row 1 is not a class \(1 of 2 labels\); the"),
        ([0, -1], rows([0.1, 0.9]), {}, "label '-1' in row 1 is not a class.*classes are 0, 1$"),
        ([0, 0.5], rows([0.1, 0.9]), {}, "label '0.5' in row 1 is not a class"),
        (["a", "c"], rows([0.1, 0.9]), {"classes": ["a", "b"]}, "label 'c' in row 1 .* are a, b$"),
        (["a", "a"], rows([0.1, 0.9]), {}, "2 columns, but there are 1 classes; pass `classes`"),
        ([0, 1], rows([0.1, 0.9]), {"classes": ["a"]}, "2 columns, but there are 1 classes$"),
        ([0, 1], rows([0.1, 0.9]), {"classes": ["a", "a"]}, "class names must be distinct"),
        ([0, 1], rows([0.1, 0.9]), {"files": ["x"]}, "files has 1 names, but probabilities have 2"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(
    labels: Any, probabilities: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dspt.audit_probabilities(labels, probabilities, **options)
