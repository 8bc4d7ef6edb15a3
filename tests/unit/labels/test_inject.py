"""Planted noise: exact counts, no label flipped to itself, repeatable, and saved without loss."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dspt.labels.inject import FlipMap, NoiseKind, NoiseProtocol, flip_labels

KINDS: tuple[NoiseKind, ...] = ("symmetric", "asymmetric")
PROTOCOLS: tuple[NoiseProtocol, ...] = ("global", "per_class")
PAPER_RATES = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75]

every_kind = pytest.mark.parametrize("kind", KINDS)
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def few_shot(n_classes: int, shots: int = 16) -> NDArray[np.int64]:
    return np.repeat(np.arange(n_classes), shots)


@every_kind
@pytest.mark.parametrize("rate", PAPER_RATES)
def test_global_flips_exactly_the_share_of_the_set(kind: NoiseKind, rate: float) -> None:
    flips = flip_labels(few_shot(11, 13), 11, rate, kind, "global", seed=1)
    assert flips.flipped.sum() == int(rate * 143)


def test_global_count_does_not_lose_one_to_rounding() -> None:
    assert int(0.29 * 100) == 28  # the trap
    assert flip_labels(few_shot(4, 25), 4, 0.29).flipped.sum() == 29
    assert flip_labels(few_shot(4, 25), 4, 0.299).flipped.sum() == 29


@every_kind
@pytest.mark.parametrize("rate", PAPER_RATES)
@pytest.mark.parametrize("n_classes", [2, 3, 10, 100])
def test_per_class_replaces_exactly_k_under_every_label(
    kind: NoiseKind, rate: float, n_classes: int
) -> None:
    flips = flip_labels(few_shot(n_classes), n_classes, rate, kind, "per_class", seed=7)
    k = round(rate * 16)
    for c in range(n_classes):
        assert (flips.labels == c).sum() == 16
        assert (flips.original[flips.labels == c] != c).sum() == k
        assert flips.flipped[flips.original == c].sum() == k


@every_kind
def test_per_class_on_uneven_classes_counts_by_class(kind: NoiseKind) -> None:
    sizes = [4, 20, 9, 16]
    flips = flip_labels(np.repeat(range(4), sizes), 4, 0.25, kind, "per_class", seed=3)
    assert [int(flips.flipped[flips.original == c].sum()) for c in range(4)] == [1, 5, 2, 4]
    if kind == "symmetric":
        assert np.bincount(flips.labels).tolist() == sizes


def test_per_class_exchange_works_at_its_limit() -> None:
    # Class 0 gives as many as all others together, so every move must be to or from it.
    labels = np.repeat([0, 1, 2, 3], [12, 4, 4, 4])
    for seed in range(50):
        flips = flip_labels(labels, 4, 0.5, "symmetric", "per_class", seed=seed)
        assert set(flips.labels[flips.flipped & (flips.original != 0)].tolist()) == {0}
        assert np.bincount(flips.labels).tolist() == [12, 4, 4, 4]


def test_per_class_exchange_that_cannot_be_is_refused_with_the_class() -> None:
    labels = np.repeat([0, 1, 2], [4, 40, 4])
    with pytest.raises(ValueError, match=r"class 1 must exchange 20 images.* only 4;"):
        flip_labels(labels, 3, 0.5, "symmetric", "per_class")


@given(
    counts=st.lists(st.integers(0, 12), min_size=2, max_size=8),
    rate=st.floats(0, 1),
    kind=st.sampled_from(KINDS),
    protocol=st.sampled_from(PROTOCOLS),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=100)
def test_labels_stay_valid_and_flips_are_real(
    counts: list[int], rate: float, kind: NoiseKind, protocol: NoiseProtocol, seed: int
) -> None:
    n_classes, labels = len(counts), np.repeat(np.arange(len(counts)), counts)
    leaving = [round(rate * n) for n in counts]
    impossible = kind == "symmetric" and protocol == "per_class" and 2 * max(leaving) > sum(leaving)
    if impossible:
        with pytest.raises(ValueError, match="must exchange"):
            flip_labels(labels, n_classes, rate, kind, protocol, seed)
        return
    flips = flip_labels(labels, n_classes, rate, kind, protocol, seed)
    assert np.array_equal(flips.original, labels)
    assert ((flips.labels >= 0) & (flips.labels < n_classes)).all()
    if protocol == "per_class":
        assert np.bincount(labels[flips.flipped], minlength=n_classes).tolist() == leaving
    else:
        assert abs(flips.flipped.sum() - rate * len(labels)) < 1
    if kind == "asymmetric":
        assert np.array_equal(flips.labels[flips.flipped], (labels[flips.flipped] + 1) % n_classes)


@every_protocol
def test_symmetric_noise_is_uniform_over_the_other_classes(protocol: NoiseProtocol) -> None:
    n_classes, n = 5, 2000
    flips = flip_labels(few_shot(n_classes, n), n_classes, 0.5, "symmetric", protocol, seed=4)
    counts = np.zeros((n_classes, n_classes), dtype=int)
    np.add.at(counts, (flips.original[flips.flipped], flips.labels[flips.flipped]), 1)
    others = counts[~np.eye(n_classes, dtype=bool)]
    # 20 cells of 250 expected, standard deviation about 14.
    assert others.min() > 250 - 75
    assert others.max() < 250 + 75
    assert np.trace(counts) == 0


@every_kind
@every_protocol
def test_a_seed_decides_everything_and_zero_is_a_seed(
    kind: NoiseKind, protocol: NoiseProtocol
) -> None:
    labels = few_shot(10)
    first, again, other = (flip_labels(labels, 10, 0.5, kind, protocol, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)
    assert first.seed == 0


@every_kind
@every_protocol
def test_rate_zero_flips_nothing_and_one_flips_all(
    kind: NoiseKind, protocol: NoiseProtocol
) -> None:
    labels = few_shot(6)
    assert not flip_labels(labels, 6, 0.0, kind, protocol).flipped.any()
    assert flip_labels(labels, 6, 1.0, kind, protocol).flipped.all()


def test_an_empty_set_has_nothing_to_flip() -> None:
    for protocol in PROTOCOLS:
        assert flip_labels([], 3, 0.5, protocol=protocol).labels.shape == (0,)


def test_the_callers_labels_are_left_alone_and_the_map_is_read_only() -> None:
    labels = few_shot(4)
    flips = flip_labels(labels, 4, 0.5)
    assert np.array_equal(labels, few_shot(4))
    labels[0] = 3
    assert flips.original[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        flips.labels[0] = 1


@every_kind
@every_protocol
def test_a_map_survives_json(kind: NoiseKind, protocol: NoiseProtocol) -> None:
    flips = flip_labels(few_shot(5), 5, 0.25, kind, protocol, seed=0)
    saved = json.loads(json.dumps(flips.to_dict()))
    loaded = FlipMap.from_dict(saved)
    assert loaded.to_dict() == flips.to_dict()
    assert np.array_equal(loaded.flipped, flips.flipped)
    assert loaded.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1]}, "2 labels for 4 original ones"),
        ({"labels": [0, 1, 2, 9]}, "labels run from 0 to 9; with 3 classes"),
        ({"kind": "pairwise"}, "kind is 'pairwise'"),
        ({"rate": 3}, "rate is 3"),
    ],
)
def test_a_damaged_map_is_refused(change: dict[str, Any], message: str) -> None:
    saved = flip_labels([0, 1, 2, 2], 3, 0.5).to_dict() | change
    with pytest.raises(ValueError, match=message):
        FlipMap.from_dict(saved)


def test_a_map_with_missing_parts_names_them() -> None:
    saved = flip_labels([0, 1, 2, 2], 3, 0.5).to_dict()
    del saved["seed"], saved["original"]
    with pytest.raises(ValueError, match="lacks original, seed"):
        FlipMap.from_dict(saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 1.5}, "rate is 1.5; it must be between 0 and 1"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"rate": -0.1}, "rate is -0.1"),
        ({"kind": "random"}, "kind is 'random'; it must be one of symmetric, asymmetric"),
        ({"protocol": "local"}, "protocol is 'local'; it must be one of global, per_class"),
        ({"n_classes": 1}, "n_classes is 1"),
        ({"labels": [0, 3]}, "labels run from 0 to 3; with 3 classes they must be in 0..2"),
        ({"labels": [-1, 2]}, "labels run from -1 to 2"),
        ({"labels": [[0], [1]]}, r"shape \(2, 1\)"),
        ({"labels": [0.0, 1.0]}, "integers, not float64"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {"labels": [0, 1, 2], "n_classes": 3, "rate": 0.5}
    with pytest.raises(ValueError, match=message):
        flip_labels(**valid | arguments)
