"""Requests go to the process that has their backbone."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest

from app.predictions import replicas
from app.predictions.replicas import Replicas

URLS = [f"http://predict-{number}:8000" for number in range(4)]
BACKBONES = [f"ViT-{number}/openai" for number in range(400)]


def places(of: Replicas) -> dict[str, str | None]:
    return {backbone: of.choose(backbone) for backbone in BACKBONES}


def test_backbones_are_spread_and_stay_where_they_are() -> None:
    found = places(Replicas(URLS))
    assert found == places(Replicas(URLS[::-1]))  # in any process, in any order
    counts = Counter(found.values())
    assert counts.keys() == set(URLS)
    assert min(counts.values()) > 60


def test_only_the_backbones_of_a_dead_process_move(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(replicas.time, "monotonic", lambda: now)
    tested = Replicas(URLS)
    before = places(tested)
    tested.failed(URLS[1])
    after = places(tested)
    moved = {backbone for backbone in BACKBONES if before[backbone] != after[backbone]}
    assert moved == {backbone for backbone in BACKBONES if before[backbone] == URLS[1]}
    assert {after[backbone] for backbone in moved} == {URLS[0], URLS[2], URLS[3]}
    now += 5
    assert places(tested) == before


def test_another_process_is_tried_and_each_once() -> None:
    tested = Replicas(URLS)
    tried: list[str] = []
    while (url := tested.choose(BACKBONES[0], tried)) is not None:
        tested.failed(url)
        tried.append(url)
    assert sorted(tried) == URLS
    assert tested.choose(BACKBONES[0]) == tried[0]  # all are away: the first is tried again


def test_a_busy_process_gets_at_most_half_more_than_the_average() -> None:
    tested = Replicas(URLS)
    with ExitStack() as requests:
        for number in range(1, 101):
            url = tested.choose("one backbone")
            assert url is not None
            requests.enter_context(tested.sending(url))
            assert max(tested._running.values()) <= 1.5 * number / 4 + 1
        first = tested.choose("another")
        assert first is not None
    assert Replicas(URLS).choose("one backbone") == tested.choose("one backbone")


def test_a_request_without_a_known_backbone_goes_to_the_least_busy() -> None:
    tested = Replicas(URLS)
    with tested.sending(URLS[0]), tested.sending(URLS[1]), tested.sending(URLS[3]):
        assert tested.choose(None) == URLS[2]
    assert Replicas(URLS[:1]).choose("any") == URLS[0]
