"""Cross-fitting: which rows are scored by which model."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspt.data import few_shot
from dspt.data.splits import FOLDS, CrossFit, Rows, without_copies


def plan_of(train: Rows, sampled: Rows, labels: Rows, seed: int) -> CrossFit:
    return CrossFit.plan(labels, seed, np.isin(train, sampled))


@st.composite
def train_sets(draw: st.DrawFn) -> tuple[Rows, Rows, Rows, int]:
    """Training rows, those sampled, the labels, a seed."""
    counts = draw(st.lists(st.integers(1, 12), min_size=2, max_size=5))
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.array(draw(st.permutations(labels.tolist())), dtype=np.int64)
    train = np.arange(len(labels))
    seed = draw(st.integers(0, 2**31 - 1))
    shots = draw(st.none() | st.integers(1, 6))
    sampled = train if shots is None else train[few_shot(labels, shots, seed)]
    return train, sampled, labels, seed


@given(train_sets())
def test_no_row_is_scored_by_a_model_tuned_on_it(case: tuple[Rows, Rows, Rows, int]) -> None:
    train, sampled, labels, seed = case
    plan = plan_of(train, sampled, labels, seed)
    # every row is scored exactly once, sampled or not
    assert sorted(np.concatenate(plan.held_out).tolist()) == list(range(len(train)))
    assert plan.train_mask.tolist() == [row in set(sampled.tolist()) for row in train.tolist()]
    for rows, held_out in zip(plan.training_rows, plan.held_out, strict=True):
        assert set(rows.tolist()) == set(sampled.tolist()) - set(held_out.tolist())
        assert len(rows) == len(set(rows.tolist())) > 0


@given(train_sets())
def test_folds_are_even(case: tuple[Rows, Rows, Rows, int]) -> None:
    train, sampled, labels, seed = case
    plan = plan_of(train, sampled, labels, seed)
    assert len(plan.held_out) == min(FOLDS, len(sampled))
    tuned_on = [len(rows) for rows in plan.training_rows]
    assert max(tuned_on) - min(tuned_on) <= 1
    sizes = [len(fold) for fold in plan.held_out]
    assert max(sizes) - min(sizes) <= 2
    for c in set(labels.tolist()):
        in_fold = [Counter(labels[fold].tolist())[c] for fold in plan.held_out]
        assert max(in_fold) - min(in_fold) <= 2


@pytest.mark.parametrize("seed", range(8))
def test_with_one_shot_of_two_classes_every_fold_has_a_training_row(seed: int) -> None:
    train, labels = np.arange(20), np.arange(20) % 2
    plan = plan_of(train, train[few_shot(labels, 1, seed)], labels, seed)
    assert [len(rows) for rows in plan.training_rows] == [1, 1]


def test_the_plan_follows_the_seed() -> None:
    labels = np.arange(40) % 3
    one, same, other = (CrossFit.plan(labels, seed).held_out for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_without_a_mask_all_rows_are_tuned_on() -> None:
    assert CrossFit.plan(np.arange(12) % 3, 1).train_mask.all()


def test_labels_of_rows_that_are_not_tuned_on_do_not_move_the_others() -> None:
    train, labels = np.arange(40), np.arange(40) % 3
    sampled = train[few_shot(labels, 6, 1)]
    others = labels.copy()
    rest = np.setdiff1d(train, sampled)
    others[rest] = (others[rest] + 1) % 3
    one, other = (plan_of(train, sampled, y, 1) for y in (labels, others))
    for mine, theirs in zip(one.training_rows, other.training_rows, strict=True):
        assert np.array_equal(mine, theirs)


@given(train_sets(), st.randoms())
def test_copies_are_in_one_fold_and_one_of_them_is_tuned_on(
    case: tuple[Rows, Rows, Rows, int], random: Random
) -> None:
    train, sampled, labels, seed = case
    groups = np.array([random.randrange(len(labels)) for _ in labels])
    mask = np.isin(train, sampled)
    plan = CrossFit.plan(labels, seed, mask, groups)
    assert sorted(np.concatenate(plan.held_out).tolist()) == list(range(len(train)))
    if len(set(groups[mask].tolist())) < 2:
        return
    assert len(groups[plan.train_mask]) == len(set(groups[mask].tolist()))
    assert set(groups[plan.train_mask].tolist()) == set(groups[mask].tolist())
    for rows, held_out in zip(plan.training_rows, plan.held_out, strict=True):
        assert not set(groups[rows].tolist()) & set(groups[held_out].tolist())


def test_without_copies_nothing_changes() -> None:
    labels = np.arange(50) % 3
    mask = np.arange(50) % 5 > 0
    plain, grouped = (
        CrossFit.plan(labels, 1, mask),
        CrossFit.plan(labels, 1, mask, np.random.default_rng(0).permutation(50)),
    )
    assert all(map(np.array_equal, plain.held_out, grouped.held_out))
    assert np.array_equal(plain.train_mask, grouped.train_mask)


def test_copies_of_a_single_image_are_divided_as_if_they_were_none() -> None:
    plan = CrossFit.plan(np.array([0, 1, 0]), 1, groups=np.zeros(3, np.int64))
    assert len(plan.held_out) == 3
    assert plan.train_mask.all()


def test_the_most_frequent_label_of_a_group_represents_it() -> None:
    groups = np.array([7, 7, 7, 2, 2, 5])
    labels = np.array([0, 1, 1, 3, 2, 0])
    assert without_copies(np.arange(6), groups, labels).tolist() == [1, 3, 5]
    assert without_copies(np.array([0, 4]), groups, labels).tolist() == [0, 4]
    assert without_copies(np.empty(0, np.int64), groups, labels).tolist() == []
