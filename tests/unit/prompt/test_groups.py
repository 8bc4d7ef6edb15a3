"""Groups of classes of similar length, and chunks of groups."""

from __future__ import annotations

import itertools

import pytest

from dspt.prompt.text_encoder import _join, group_by_length

LENGTHS = [4, 9, 3, 4, 3, 20, 4]


def padded(groups: list[list[int]], lengths: list[int]) -> int:
    return sum(len(group) * max(lengths[i] for i in group) for group in groups)


def test_groups_that_cost_nothing_leave_no_padding() -> None:
    groups = group_by_length(LENGTHS, 0)
    assert groups == [[2, 4], [0, 3, 6], [1], [5]]
    assert padded(groups, LENGTHS) == sum(LENGTHS)


def test_groups_that_cost_much_leave_one() -> None:
    (group,) = group_by_length(LENGTHS, 1000)
    assert sorted(group) == list(range(7))


def test_a_group_is_made_where_it_saves_more_than_it_costs() -> None:
    # 3 and 4 apart save 2 tokens, 4 and 9 apart 25, 9 and 20 apart 11
    def longest(overhead: float) -> list[int]:
        return [max(LENGTHS[i] for i in group) for group in group_by_length(LENGTHS, overhead)]

    assert longest(1.5) == [3, 4, 9, 20]
    assert longest(5) == [4, 9, 20]
    assert longest(15) == [4, 20]


@pytest.mark.parametrize("overhead", [0.5, 3.0, 10.0, 50.0])
def test_no_other_cut_costs_less(overhead: float) -> None:
    lengths = [2, 2, 3, 5, 5, 5, 8, 13, 13, 21]
    known = sorted(set(lengths))
    costs = []
    for count in range(len(known)):
        for inner in itertools.combinations(known[:-1], count):
            ends = [*inner, known[-1]]
            tokens = sum(min(end for end in ends if end >= length) for length in lengths)
            costs.append(tokens + overhead * len(ends))
    found = group_by_length(lengths, overhead)
    assert padded(found, lengths) + overhead * len(found) == pytest.approx(min(costs))


def test_neighbours_go_together_up_to_the_most_tokens() -> None:
    sizes = [6, 4, 9, 1]
    assert _join(sizes, 10) == [slice(0, 2), slice(2, 4)]
    assert _join(sizes, 9) == [slice(i, i + 1) for i in range(4)]
    assert _join(sizes, 100) == [slice(0, 4)]
