"""Weights by the size of the classes."""

from __future__ import annotations

import pytest
import torch

from dspt.kit.balance import class_weights


def everyone(n: int) -> torch.Tensor:
    return torch.ones(n, dtype=torch.bool)


@pytest.mark.parametrize("smoothing", [0.0, 6.0])
@pytest.mark.parametrize("second", [2, 9, 10])
def test_classes_of_similar_size_have_weight_one(smoothing: float, second: int) -> None:
    labels = torch.tensor([0] * 9 + [1] * second)
    n = len(labels)
    assert torch.equal(class_weights(labels, everyone(n), smoothing), torch.ones(n))
    assert not class_weights(labels, everyone(n).logical_not(), smoothing).isnan().any()


def test_all_classes_have_the_same_total_weight() -> None:
    labels = torch.tensor([0] * 24 + [1] * 2)
    weights = class_weights(labels, everyone(26), 0)
    assert weights[0] == pytest.approx(13 / 24)
    assert weights[-1] == pytest.approx(13 / 2)


def test_smoothing_takes_weight_from_small_classes() -> None:
    labels = torch.tensor([0] * 24 + [1] * 2)
    weights = class_weights(labels, everyone(26), 6)
    assert float(weights.mean()) == pytest.approx(1)
    assert weights[-1] / weights[0] == pytest.approx((24 + 6) / (2 + 6))


def test_only_the_rows_are_counted() -> None:
    labels = torch.tensor([0] * 5 + [1] * 5 + [2])
    rows = torch.tensor([True] * 6 + [False] * 5)
    weights = class_weights(labels, rows, 0)
    assert float(weights[rows].mean()) == pytest.approx(1)
    assert weights[5] / weights[0] == pytest.approx(5)
    assert weights[6] == weights[5]
