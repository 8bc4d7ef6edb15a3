"""Cross-fitting: who is judged by whom."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dspt.config import DEFAULT_LR, LossName
from dspt.crossfit import AUDIT_LOSS, FOLDS, CrossFit, Rows
from dspt.data import few_shot

LOSSES: list[LossName] = ["dspt", "ce", "gce", "mae"]


@st.composite
def train_sets(draw: st.DrawFn) -> tuple[Rows, Rows, Rows, int]:
    """Training rows among the rows of the features, those sampled, the labels, a seed."""
    counts = draw(st.lists(st.integers(1, 12), min_size=2, max_size=5))
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.array(draw(st.permutations(labels.tolist())), dtype=np.int64)
    gaps = draw(st.lists(st.integers(1, 4), min_size=len(labels), max_size=len(labels)))
    train = np.cumsum(np.array(gaps, dtype=np.int64)) - 1  # test images lie between
    seed = draw(st.integers(0, 2**31 - 1))
    shots = draw(st.none() | st.integers(1, 6))
    sampled = train if shots is None else train[few_shot(labels, shots, seed)]
    return train, sampled, labels, seed


@given(train_sets(), st.sampled_from(LOSSES))
def test_no_row_is_judged_by_a_run_tuned_on_it(
    case: tuple[Rows, Rows, Rows, int], loss: LossName
) -> None:
    train, sampled, labels, seed = case
    plan = CrossFit.plan(train, sampled, labels, loss, 0.01, seed)
    # every row is judged, sampled or not, and once
    assert sorted(np.concatenate(plan.judged).tolist()) == list(range(len(train)))
    assert len(plan.runs) == len(plan.judged) * len(plan.losses)
    for i, run in enumerate(plan.runs):
        fold = set(train[plan.judged[i // len(plan.losses)]].tolist())
        learnt = set(run.rows.tolist())
        assert learnt == set(sampled.tolist()) - fold
        assert learnt
        assert len(run.rows) == len(learnt)
        assert run.loss == plan.losses[i % len(plan.losses)]
        assert run.seed == seed


@given(train_sets())
def test_folds_are_even(case: tuple[Rows, Rows, Rows, int]) -> None:
    train, sampled, labels, seed = case
    plan = CrossFit.plan(train, sampled, labels, "dspt", 0.01, seed)
    assert len(plan.judged) == min(FOLDS, len(sampled))
    tuned_on = [len(run.rows) for run in plan.runs]
    assert max(tuned_on) - min(tuned_on) <= 1
    sizes = [len(fold) for fold in plan.judged]
    assert max(sizes) - min(sizes) <= 2
    for c in set(labels.tolist()):
        in_fold = [Counter(labels[fold].tolist())[c] for fold in plan.judged]
        assert max(in_fold) - min(in_fold) <= 2


@pytest.mark.parametrize("seed", range(8))
def test_one_shot_of_two_classes_leaves_every_run_something_to_learn(seed: int) -> None:
    train, labels = np.arange(20), np.arange(20) % 2
    sampled = train[few_shot(labels, 1, seed)]
    plan = CrossFit.plan(train, sampled, labels, "dspt", 0.01, seed)
    assert [len(run.rows) for run in plan.runs] == [1] * 4


def test_the_plan_follows_the_seed() -> None:
    train, labels = np.arange(40), np.arange(40) % 3
    one, same, other = (
        CrossFit.plan(train, train, labels, "dspt", 0.01, seed).judged for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_served_loss_and_the_one_that_ranks_best(loss: LossName) -> None:
    plan = CrossFit.plan(np.arange(12), np.arange(12), np.arange(12) % 3, loss, 0.007, 1)
    assert plan.losses[0] == loss
    assert set(plan.losses) == {loss, AUDIT_LOSS}
    assert len(plan.runs) == FOLDS * len(plan.losses)
    for run in plan.runs:
        assert run.lr == (0.007 if run.loss == loss else DEFAULT_LR[AUDIT_LOSS])


def test_probabilities_come_from_the_run_of_the_fold() -> None:
    torch.manual_seed(1)
    labels = np.arange(10) % 3
    plan = CrossFit.plan(np.arange(10), np.arange(10), labels, "dspt", 0.01, 3)
    classes = F.normalize(torch.randn(len(plan.runs), 3, 8), dim=-1)
    features = F.normalize(torch.randn(10, 8), dim=-1)
    found = plan.probabilities(classes, features, 30.0)
    assert found.shape == (2, 10, 3)
    for i, run in enumerate(plan.runs):
        loss = plan.losses.index(run.loss)
        for position in plan.judged[i // 2]:
            expected = (30.0 * classes[i] @ features[position]).softmax(0)
            torch.testing.assert_close(found[loss, position], expected)
