"""The figures of held-out photos, which later photos are compared with."""

from __future__ import annotations

import numpy as np
import pytest

from dspt.model import drift
from dspt.report import drift as report
from dspt.report.drift import class_means, drift_baseline


def test_class_means_are_directions_and_leave_out_classes_without_photos() -> None:
    embeddings = np.array([[2.0, 0.0], [0.0, 4.0], [0.0, 3.0]], np.float32)
    found = class_means(embeddings, np.array([0, 0, 2]))
    assert found is not None
    assert (found.dtype, found.tolist()) == (np.int8, [[64, 127], [0, 127]])


def test_very_many_classes_have_no_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_CLASSES", 2)
    assert class_means(np.eye(2, dtype=np.float32), np.arange(2)) is not None
    assert class_means(np.eye(3, dtype=np.float32), np.arange(3)) is None


def test_the_distance_is_that_to_the_nearest_mean_whatever_the_length() -> None:
    means = np.diag([127, 5]).astype(np.int8)
    # The third column is no part of the embedding.
    features = np.array([[2, 0, 9], [3, 3, 0], [0, 5, 0], [-1, 0, 1]], np.float32)
    expected = [0, 1 - 0.5**0.5, 0, 1]
    assert drift.distances(means, features).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_baseline_of_held_out_photos() -> None:
    photos = np.tile(np.array([1, 0], np.float32), (20, 1))
    photos[0] = 0, 1  # sure, but like no photo
    scores, means = np.array([0.9] * 15 + [0.3] * 5), np.array([[127, 0]], np.int8)
    found = drift_baseline(scores, means, photos)
    assert found == {
        "images": 20,
        "low_confidence": 0.25,
        "distance": pytest.approx(1 / 20),
        "far": 1 / 20,
        "far_beyond": pytest.approx(0.05),
    }
    without = drift_baseline(scores, None, photos)
    assert without == found | {"distance": None, "far": None, "far_beyond": None}
