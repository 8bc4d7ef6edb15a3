"""The figures of held-out photos, which later photos are compared with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dspt.classifier.linear import LinearClassifier
from dspt.model import drift
from dspt.report import drift as report
from dspt.report.drift import class_means, drift_baseline


def test_class_means_have_unit_length_and_leave_out_classes_without_photos() -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 3.0]])
    found = class_means(features, torch.tensor([0, 0, 2]))
    assert found is not None
    assert torch.equal(found, torch.tensor([[0.5, 0.5], [0.0, 1.0]]).sqrt().half())


def test_very_many_classes_have_no_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_CLASSES", 2)
    assert class_means(torch.eye(2), torch.tensor([0, 1])) is not None
    assert class_means(torch.eye(3), torch.tensor([0, 1, 2])) is None


def test_the_distance_is_that_to_the_nearest_mean_whatever_the_length() -> None:
    means = np.eye(2, 3, dtype=np.float16)
    features = np.array([[2, 0, 0], [0, 3, 3], [0, 0, 5], [-1, 0, -1]], np.float32)
    expected = [0, 1 - 0.5**0.5, 1, 1]
    assert drift.distances(means, features).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_baseline_of_held_out_photos() -> None:
    classifier = LinearClassifier(torch.eye(4), torch.zeros(4))
    sure, unsure = torch.tensor([[9.0, 0, 0, 0], [0.1, 0, 0, 0]])
    photos = torch.stack([sure] * 15 + [unsure] * 5)
    photos[0] = torch.tensor([0, 9.0, 0, 0])  # sure, but like no photo
    found = drift_baseline(classifier, torch.eye(1, 4), photos)
    assert found == {
        "images": 20,
        "low_confidence": 0.25,
        "distance": pytest.approx(1 / 20),
        "far": 1 / 20,
        "far_beyond": pytest.approx(0.05),
    }
    without = drift_baseline(classifier, None, photos)
    assert without == found | {"distance": None, "far": None, "far_beyond": None}
