"""Buckets of classes of like length, and the attention between packed tokens."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor

from dspt.prompt.packed.ragged import (
    Bucket,
    Parts,
    attend,
    attend_backward,
    group_buckets,
    join_heads,
    make_buckets,
    split_heads,
)

LENGTHS = [4, 9, 3, 4, 3, 20, 4]


def shape(buckets: list[Bucket]) -> list[tuple[list[int], int]]:
    return [(bucket.classes, bucket.length) for bucket in buckets]


def test_kernels_that_cost_nothing_leave_no_padding() -> None:
    buckets = make_buckets(LENGTHS, 0, 1000)
    assert shape(buckets) == [([2, 4], 3), ([0, 3, 6], 4), ([1], 9), ([5], 20)]
    assert sum(bucket.tokens for bucket in buckets) == sum(LENGTHS)


def test_kernels_that_cost_much_leave_one_bucket() -> None:
    (bucket,) = make_buckets(LENGTHS, 1000, 1000)
    assert bucket.length == 20
    assert bucket.tokens == 7 * 20
    assert bucket.classes == [2, 4, 0, 3, 6, 1, 5]  # short ones first


def test_a_bucket_is_made_where_it_saves_more_than_it_costs() -> None:
    # 3 and 4 apart save 2 tokens, 4 and 9 apart 25, 9 and 20 apart 11
    assert [b.length for b in make_buckets(LENGTHS, 1.5, 1000)] == [3, 4, 9, 20]
    assert [b.length for b in make_buckets(LENGTHS, 5, 1000)] == [4, 9, 20]
    assert [b.length for b in make_buckets(LENGTHS, 15, 1000)] == [4, 20]


@pytest.mark.parametrize("overhead", [0.5, 3.0, 10.0, 50.0])
def test_no_other_cut_costs_less(overhead: float) -> None:
    lengths = [2, 2, 3, 5, 5, 5, 8, 13, 13, 21]
    known = sorted(set(lengths))
    costs = []
    for count in range(len(known)):
        for inner in itertools.combinations(known[:-1], count):
            ends = [*inner, known[-1]]
            padded = sum(min(end for end in ends if end >= length) for length in lengths)
            costs.append(padded + overhead * len(ends))
    found = make_buckets(lengths, overhead, 1000)
    assert sum(b.tokens for b in found) + overhead * len(found) == pytest.approx(min(costs))


def test_no_bucket_has_more_than_the_most_tokens() -> None:
    buckets = make_buckets([4] * 10 + [30], 0, 17)
    assert [(len(b.classes), b.length) for b in buckets] == [(4, 4), (4, 4), (2, 4), (1, 30)]
    assert Counter(c for b in buckets for c in b.classes) == Counter(range(11))


def test_pieces_are_of_like_size() -> None:
    assert [len(b.classes) for b in make_buckets([5] * 9, 0, 40)] == [5, 4]


def test_neighbours_go_together_up_to_the_most_tokens() -> None:
    buckets = [Bucket([0, 1], 3), Bucket([2], 4), Bucket([3], 9), Bucket([4], 1)]  # 6, 4, 9, 1
    assert group_buckets(buckets, 10) == [buckets[:2], buckets[2:]]
    assert group_buckets(buckets, 9) == [[bucket] for bucket in buckets]
    assert group_buckets(buckets, 100) == [buckets]


def test_heads_apart_and_joined_again() -> None:
    x = torch.randn(2 * 3 * 4, 2 * 10)  # 2 runs, 3 classes of 4 tokens, keys and values, 5 heads
    keys, values = split_heads(x, 2, 3, 5, 2)
    assert keys.shape == values.shape == (2 * 5, 3 * 4, 2)
    # run 1, class 2, token 3, head 4
    assert torch.equal(keys[5 + 4, 2 * 4 + 3], x[(1 * 3 + 2) * 4 + 3, 8:10])
    assert torch.equal(values[5 + 4, 2 * 4 + 3], x[(1 * 3 + 2) * 4 + 3, 18:20])
    assert torch.equal(join_heads([keys, values], 2), x)


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("asking", ["all", "one"])
def test_attention_and_its_gradients(before: int, asking: str) -> None:
    torch.manual_seed(1)
    batch, classes, length, size = 4, 3, 5, 6
    causal = torch.full((length, length), float("-inf"), dtype=torch.float64).triu(1)
    if asking == "one":  # each class's token at another place, as in the last block
        mask, count = causal[torch.tensor([4, 2, 3])][:, None], 1
    else:
        mask, count = causal, length

    def drawn(tokens: int) -> Tensor:
        return torch.randn(batch, tokens, size, dtype=torch.float64, requires_grad=True)

    q, k, v = drawn(classes * count), drawn(classes * length), drawn(classes * length)
    prefix = drawn(before), drawn(before)
    own = Parts(q, k, v)

    # One class after the other, keys of the prefix in front
    wanted = []
    for c in range(classes):
        rows = slice(c * length, (c + 1) * length)
        keys = torch.cat([prefix[0], k[:, rows]], dim=1)
        values = torch.cat([prefix[1], v[:, rows]], dim=1)
        seen = torch.cat([torch.zeros(count, before), mask[c] if asking == "one" else mask], dim=1)
        scores = q[:, c * count : (c + 1) * count] @ keys.mT + seen
        wanted.append(scores.softmax(-1) @ values)
    expected = torch.cat(wanted, dim=1)
    found, weights = attend(own, prefix, mask, classes)
    torch.testing.assert_close(found, expected)

    probe = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * probe).sum(), [q, k, v, *prefix])
    with torch.no_grad():
        ours = attend_backward(
            probe, own, prefix, weights, classes, want_own=True, want_prefix=True
        )
    assert ours.prefix is not None
    torch.testing.assert_close((ours.q, ours.k, ours.v, *ours.prefix), tuple(gradients))


def test_only_the_gradients_that_are_wanted() -> None:
    own = Parts(*(torch.randn(2, 6, 4) for _ in range(3)))
    prefix = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    found, weights = attend(own, prefix, torch.zeros(2, 2), 3)
    less = attend_backward(found, own, prefix, weights, 3, want_own=False, want_prefix=True)
    assert (less.q, less.k, less.v) == (None, None, None)
    assert less.prefix is not None
    less = attend_backward(found, own, prefix, weights, 3, want_own=True, want_prefix=False)
    assert less.prefix is None
