"""Times the engines in turns and compares their answers."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from app.datasets.demo_photos import PHOTOGRAPHS, make_demo_data
from benchmarks.image_engines.engines import BASELINE, Encode, Engine, make_engines
from benchmarks.skeleton.program import Document
from dspt.backbones import Backbone, load_backbone
from dspt.classifier.linear import LinearClassifier
from dspt.data import load_dataset, read_image
from dspt.prompt.learner import zero_shot_embeddings

CLASSES = [photograph.folder for photograph in PHOTOGRAPHS]
_SECONDS = 1.5
"""Of each engine in each round, for single images and for batches."""


@dataclass
class Timing:
    """Times of one engine; one entry per round."""

    alone: list[float] = field(default_factory=list)
    """Milliseconds for a single image, median of the round."""
    rate: list[float] = field(default_factory=list)
    """Images per second in batches."""


def measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    """Fill in the settings, and the rows of the table by backbone."""
    torch.set_num_threads(options.threads)
    settings = ("threads", "rounds", "batch", "images")
    document |= {name: getattr(options, name) for name in settings}
    document |= {"classes": len(CLASSES), "backbones": {}}
    for name in options.backbone:
        document["backbones"][name] = _backbone(load_backbone(name), options, console)


def _backbone(
    backbone: Backbone, options: argparse.Namespace, console: Console
) -> list[dict[str, Any]]:
    """Return one row per engine, as in the table."""
    with tempfile.TemporaryDirectory() as folder:
        batches = _batches(backbone, options.images, options.batch)
        first = next(batches)
        engines = make_engines(backbone, Path(folder), first)
        agreement = Agreement(backbone, CLASSES)
        agreement.add(engines, first)
        more = -(-options.images // options.batch) - 1
        for pixels in track(batches, "comparing", total=more, console=console):
            agreement.add(engines, pixels)
        rounds = timings(engines, first, options.rounds)
        *_, timed = track(rounds, "timing", total=options.rounds, console=console)
        return rows(engines, timed, agreement)


def _batches(backbone: Backbone, images: int, size: int) -> Iterator[Tensor]:
    """Yield the pixels of `images` photos in batches."""
    photos = islice(_photos(), images)
    while batch := list(islice(photos, size)):
        yield torch.stack([backbone.preprocess(photo) for photo in batch])


def _photos() -> Iterator[Image.Image]:
    """Yield different crops of the demo's photographs without end."""
    for seed in count(1):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "photos.zip"
            file.write_bytes(make_demo_data(seed).zip)
            with load_dataset(file) as dataset:
                for item in dataset.items:
                    yield read_image(dataset, item)


def timings(engines: Sequence[Engine], pixels: Tensor, rounds: int) -> Iterator[dict[str, Timing]]:
    """Yield all times after each round. Engines take turns, so that each meets the same load."""
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
    """Differences of zero-shot scores from those of the baseline."""

    def __init__(self, backbone: Backbone, class_words: Sequence[str]) -> None:
        self._classes = zero_shot_embeddings(backbone, class_words)
        self._scale = backbone.logit_scale
        self.images = 0
        self.same: dict[str, int] = {}
        """Engine -> images with the same top-1 class."""
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
        return LinearClassifier.from_text(self._classes, self._scale).probabilities(features)


def rows(
    engines: Sequence[Engine], timed: dict[str, Timing], agreement: Agreement
) -> list[dict[str, Any]]:
    """Return one row per engine. Ratios: minimum, median and maximum over the rounds."""
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
    """Return minimum, median and maximum."""
    values = sorted(ratios)
    return [values[0], statistics.median(values), values[-1]]
