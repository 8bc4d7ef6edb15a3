"""Cross-fitting: who is judged by whom."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dspt.config import LossName
from dspt.data import few_shot
from dspt.data.crossfit import FOLDS, CrossFit, Rows

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
    assert plan.learned.tolist() == [row in set(sampled.tolist()) for row in train.tolist()]
    for run, positions in zip(plan.runs, plan.judged, strict=True):
        fold = set(train[positions].tolist())
        learnt = set(run.rows.tolist())
        assert learnt == set(sampled.tolist()) - fold
        assert learnt
        assert len(run.rows) == len(learnt)
        assert (run.loss, run.lr, run.seed) == (loss, 0.01, seed)


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
    assert [len(run.rows) for run in plan.runs] == [1, 1]


def test_the_plan_follows_the_seed() -> None:
    train, labels = np.arange(40), np.arange(40) % 3
    one, same, other = (
        CrossFit.plan(train, train, labels, "dspt", 0.01, seed).judged for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_labels_of_rows_that_are_not_learned_from_do_not_move_those_that_are() -> None:
    train, labels = np.arange(40), np.arange(40) % 3
    sampled = train[few_shot(labels, 6, 1)]
    others = labels.copy()
    rest = np.setdiff1d(train, sampled)
    others[rest] = (others[rest] + 1) % 3
    one, other = (CrossFit.plan(train, sampled, y, "dspt", 0.01, 1) for y in (labels, others))
    for mine, theirs in zip(one.runs, other.runs, strict=True):
        assert np.array_equal(mine.rows, theirs.rows)


def test_logits_come_from_the_run_of_the_fold() -> None:
    torch.manual_seed(1)
    labels = np.arange(10) % 3
    plan = CrossFit.plan(np.arange(10), np.arange(10), labels, "dspt", 0.01, 3)
    classes = F.normalize(torch.randn(len(plan.runs), 3, 8), dim=-1)
    features = F.normalize(torch.randn(10, 8), dim=-1)
    found = plan.held_out_logits(classes, features, 30.0)
    assert found.shape == (10, 3)
    for embeddings, positions in zip(classes, plan.judged, strict=True):
        for position in positions:
            expected = 30.0 * embeddings @ features[position]
            torch.testing.assert_close(found[position], expected)
