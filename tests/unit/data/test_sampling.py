from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspt.data import few_shot, stratified_folds, stratified_holdout

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=60)
SEEDS = st.integers(0, 2**31 - 1)


def counts(labels: list[int], indices: np.ndarray) -> dict[int, int]:
    chosen, n = np.unique(np.asarray(labels)[indices], return_counts=True)
    return dict(zip(chosen.tolist(), n.tolist(), strict=True))


@settings(deadline=None)
@given(LABELS, st.integers(1, 20), SEEDS)
def test_few_shot(labels: list[int], shots: int, seed: int) -> None:
    drawn = few_shot(labels, shots, seed)
    assert drawn.dtype == np.int64
    assert (np.diff(drawn) > 0).all()  # sorted, none twice
    assert counts(labels, drawn) == {c: min(shots, labels.count(c)) for c in set(labels)}
    np.testing.assert_array_equal(drawn, few_shot(np.array(labels), shots, seed))


@settings(deadline=None)
@given(LABELS, st.floats(0.01, 0.99), SEEDS)
def test_holdout(labels: list[int], fraction: float, seed: int) -> None:
    kept, held = stratified_holdout(labels, fraction, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    for c in set(labels):
        n, n_held = labels.count(c), counts(labels, held).get(c, 0)
        assert n - n_held >= 1
        assert (n_held >= 1) == (n > 1)
        assert abs(n_held - fraction * n) <= 1
    again = stratified_holdout(labels, fraction, seed)
    np.testing.assert_array_equal(held, again[1])


@settings(deadline=None)
@given(LABELS.filter(lambda x: len(x) > 1), st.integers(2, 12), SEEDS)
def test_folds(labels: list[int], k: int, seed: int) -> None:
    folds = stratified_folds(labels, k, seed)
    assert len(folds) == min(k, len(labels))
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(labels)))
    sizes = [len(f) for f in folds]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    for c in set(labels):
        per_fold = [counts(labels, f).get(c, 0) for f in folds]
        assert max(per_fold) - min(per_fold) <= 1
        if labels.count(c) > 1:  # what trains the model of a fold still has the class
            assert max(per_fold) < labels.count(c)
    for fold, again in zip(folds, stratified_folds(labels, k, seed), strict=True):
        np.testing.assert_array_equal(fold, again)


def test_exact_sizes() -> None:
    labels = [0] * 10 + [1] * 5 + [2] * 2 + [3]
    kept, held = stratified_holdout(labels, 0.2, 1)
    assert counts(labels, held) == {0: 2, 1: 1, 2: 1}
    assert counts(labels, kept) == {0: 8, 1: 4, 2: 1, 3: 1}


def test_seeds_differ_and_zero_is_a_seed() -> None:
    labels = [0] * 50 + [1] * 50
    draws = {tuple(few_shot(labels, 5, seed)) for seed in range(20)}
    assert len(draws) == 20
    assert len({tuple(stratified_holdout(labels, 0.2, seed)[1]) for seed in range(20)}) == 20
    assert len({tuple(stratified_folds(labels, 3, seed)[0]) for seed in range(20)}) == 20


def test_every_image_can_be_drawn() -> None:
    drawn = np.concatenate([few_shot([0] * 10, 2, seed) for seed in range(200)])
    _, n = np.unique(drawn, return_counts=True)
    assert len(n) == 10
    assert n.min() > 20  # 40 expected


def test_no_images() -> None:
    assert few_shot([], 3, 0).tolist() == []
    kept, held = stratified_holdout([], 0.5, 0)
    assert (len(kept), len(held)) == (0, 0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: few_shot([0, 1], 0, 1), "shots must be at least 1"),
        (lambda: stratified_holdout([0, 1], 0.0, 1), "fraction must lie between 0 and 1"),
        (lambda: stratified_holdout([0, 1], 1.0, 1), "fraction must lie between 0 and 1"),
        (lambda: stratified_folds([0, 1], 1, 1), "k must be at least 2"),
        (lambda: stratified_folds([0], 2, 1), "at least two images"),
        (lambda: few_shot([[0, 1]], 1, 1), "one dimension"),
        (lambda: few_shot([0, 1], 1, -1), "non-negative"),
    ],
)
def test_arguments_out_of_range(call: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()  # type: ignore[operator]
