"""`python -m benchmarks.image_engines`: what it measures, compares and writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.image_engines import run
from benchmarks.image_engines.engines import BASELINE, Engine
from benchmarks.image_engines.report import markdown
from benchmarks.image_engines.run import Agreement, Timing, rows, timings
from dspt.backbones import Backbone

WORDS = ["cat", "dog", "house"]


def same(pixels: Tensor) -> Tensor:
    return F.normalize(pixels.flatten(1)[:, :512], dim=-1)


def opposite(pixels: Tensor) -> Tensor:
    return -same(pixels)


ENGINES = [
    Engine(BASELINE, same, 0.1),
    Engine("twin", same, 0.2),
    Engine("opposite", opposite, 0.3),
    Engine("none", None, 0.0, "ImportError: no such module"),
]


@pytest.fixture(scope="module")
def agreement(builtin: Backbone) -> Agreement:
    found = Agreement(builtin, WORDS)
    generator = torch.Generator().manual_seed(1)
    for size in (4, 2):
        found.add(ENGINES, torch.randn(size, 3, 16, 16, generator=generator))
    return found


def test_agreement_counts_the_same_answers_and_the_largest_difference(
    agreement: Agreement,
) -> None:
    assert agreement.images == 6
    assert agreement.same[BASELINE] == agreement.same["twin"] == 6
    assert agreement.same["opposite"] < 6
    assert agreement.difference["twin"] == 0
    assert 0 < agreement.difference["opposite"] <= 1
    assert "none" not in agreement.same


def test_all_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def times(encode: object, pixels: Tensor) -> Iterator[float]:
        asked.append(f"{'same' if encode is same else 'opposite'} {len(pixels)}")
        return iter([0.001 * len(pixels)] * 3)

    monkeypatch.setattr(run, "_times", lambda *given: list(times(*given)))
    engines = [ENGINES[0], ENGINES[2], ENGINES[3]]
    *_, found = timings(engines, torch.zeros(8, 3, 16, 16), 2)
    assert asked == [
        *("same 1", "same 8", "opposite 1", "opposite 8"),
        *("opposite 1", "opposite 8", "same 1", "same 8"),
    ]
    assert found[BASELINE].alone == pytest.approx([1, 1])
    assert found[BASELINE].rate == pytest.approx([1000, 1000])


def test_ratios_are_of_the_same_round(agreement: Agreement, tmp_path: Path) -> None:
    timed = {
        BASELINE: Timing([10, 20, 30], [100, 50, 30]),
        "twin": Timing([5, 5, 30], [200, 200, 30]),
        "opposite": Timing([10, 10, 10], [10, 10, 10]),
    }
    found = rows(ENGINES, timed, agreement)
    assert [row["engine"] for row in found] == [BASELINE, "twin", "opposite", "none"]
    assert found[1]["alone_ratio"] == [1, 2, 4]
    assert found[1]["rate_ratio"] == [1, 2, 4]
    assert (found[1]["alone_ms"], found[1]["images_per_second"]) == (5, 200)
    document = {
        "command": "python -m benchmarks.image_engines",
        "machine": "a machine",
        "versions": {"torch": "2.0"},
        "threads": 2,
        "rounds": 3,
        "batch": 32,
        "images": 6,
        "classes": 3,
        "backbones": {"builtin": json.loads(json.dumps(found))},
    }
    text = markdown(document)
    assert "| twin | 5.0 | 2.00 (1.00 to 4.00) | 200 | 2.00 (1.00 to 4.00) | 6 | 0.0e+00 |" in text
    assert "| none | not available: ImportError: no such module |" in text
