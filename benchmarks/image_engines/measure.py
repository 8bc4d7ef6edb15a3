"""Time and agreement of engines, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.image_engines.engines import BASELINE, Encode, Engine
from dspt.backbones import Backbone
from dspt.prompt.learner import zero_shot_embeddings

_SECONDS = 1.5
"""Of each engine in each round, alone and in batches."""


@dataclass
class Timing:
    """Of one engine; an entry for each round."""

    alone: list[float] = field(default_factory=list)
    """Milliseconds for one image by itself, the median of the round."""
    rate: list[float] = field(default_factory=list)
    """Images a second in batches."""


def timings(engines: Sequence[Engine], pixels: Tensor, rounds: int) -> Iterator[dict[str, Timing]]:
    """What is known after each round. Engines take turns, so that all meet the same neighbours."""
    able = [(engine.name, engine.encode) for engine in engines if engine.encode is not None]
    found = {name: Timing() for name, _ in able}
    for number in range(rounds):
        turn = number % len(able)
        for name, encode in able[turn:] + able[:turn]:
            found[name].alone.append(1000 * statistics.median(_times(encode, pixels[:1])))
            times = _times(encode, pixels)
            found[name].rate.append(len(pixels) * len(times) / sum(times))
        yield found


def _times(encode: Encode, pixels: Tensor) -> list[float]:
    encode(pixels)
    times: list[float] = []
    while sum(times) < _SECONDS or len(times) < 3:
        start = time.perf_counter()
        encode(pixels)
        times.append(time.perf_counter() - start)
    return times


class Agreement:
    """How far the scores of engines are from the baseline's, with zero-shot's class matrix."""

    def __init__(self, backbone: Backbone, class_words: Sequence[str]) -> None:
        self._classes = zero_shot_embeddings(backbone, class_words)
        self._scale = backbone.logit_scale
        self.images = 0
        self.same: dict[str, int] = {}
        """Engine -> images whose likeliest class is the same."""
        self.difference: dict[str, float] = {}
        """Engine -> largest difference of a probability."""

    def add(self, engines: Sequence[Engine], pixels: Tensor) -> None:
        self.images += len(pixels)
        scores = {e.name: self._scores(e.encode(pixels)) for e in engines if e.encode is not None}
        expected = scores[BASELINE]
        for name, found in scores.items():
            same = int((found.argmax(1) == expected.argmax(1)).sum())
            difference = float((found - expected).abs().max())
            self.same[name] = self.same.get(name, 0) + same
            self.difference[name] = max(self.difference.get(name, 0.0), difference)

    def _scores(self, features: Tensor) -> Tensor:
        return torch.softmax(self._scale * features @ self._classes.T, dim=-1)


def rows(
    engines: Sequence[Engine], timed: dict[str, Timing], agreement: Agreement
) -> list[dict[str, Any]]:
    """One for each engine, as in the table. Ratios have the range of the rounds around them."""
    base = timed[BASELINE]
    found: list[dict[str, Any]] = []
    for engine in engines:
        if engine.encode is None:
            found.append({"engine": engine.name, "reason": engine.reason})
            continue
        mine = timed[engine.name]
        found.append(
            {
                "engine": engine.name,
                "ready_seconds": engine.ready_seconds,
                "alone_ms": statistics.median(mine.alone),
                "alone_ratio": _spread(a / b for a, b in zip(base.alone, mine.alone, strict=True)),
                "images_per_second": statistics.median(mine.rate),
                "rate_ratio": _spread(b / a for a, b in zip(base.rate, mine.rate, strict=True)),
                "same_top_1": agreement.same[engine.name],
                "largest_score_difference": agreement.difference[engine.name],
            }
        )
    return found


def _spread(ratios: Iterator[float]) -> list[float]:
    """Least, median, most."""
    values = sorted(ratios)
    return [values[0], statistics.median(values), values[-1]]
