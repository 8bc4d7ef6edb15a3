"""One data set with planted wrong labels, reviewed by a simulated person who knows the truth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.data import Dataset, few_shot
from dspt.kit.progress import Listener, Progress
from dspt.labels.corrections import Corrections
from dspt.labels.inject import NoiseKind, NoiseProtocol, flip_labels
from dspt.pipeline import TuneResult, tune

Order = Literal["audit", "random"]
ORDERS: tuple[Order, ...] = ("audit", "random")

OnProgress = Callable[[float], None]
"""Called with the tunings that are over, the one at work counted as a share of 1."""


@dataclass(frozen=True)
class Settings:
    """What is run, apart from the data."""

    shots: int
    rate: float
    kind: NoiseKind
    protocol: NoiseProtocol
    shares: tuple[float, ...]
    """Shares of the training images that the person looks at."""
    config: TuneConfig
    """For the seed of each run to be filled in."""


@dataclass(frozen=True)
class Planted:
    """Few shots of a data set with some labels made wrong, and the test images."""

    dataset: Dataset
    given: Mapping[str, str]
    """Class of each training file as given."""
    truth: Mapping[str, str]

    @property
    def wrong(self) -> frozenset[str]:
        return frozenset(file for file, name in self.given.items() if name != self.truth[file])


def plant(dataset: Dataset, settings: Settings, seed: int) -> Planted:
    """Draw the shots by true class, then flip labels among them; held-out images stay as they are.

    Nothing is copied: wrong labels are planted by the means that put right ones in their place.
    """
    train = dataset.of_split("train")
    labels = dataset.labels("train")
    drawn = few_shot(labels, settings.shots, seed)
    flips = flip_labels(
        labels[drawn], len(dataset.classes), settings.rate, settings.kind, settings.protocol, seed
    )
    files = [train[row].path for row in drawn]
    given = {f: dataset.classes[i] for f, i in zip(files, flips.labels, strict=True)}
    truth = {f: dataset.classes[i] for f, i in zip(files, flips.original, strict=True)}
    others = {item.path for item in train} - set(files)
    planted = Corrections.of(given, others).apply(dataset, may_change_nothing=True)
    return Planted(planted, given, truth)


def reviewed(planted: Planted, looked_at: Sequence[str]) -> Dataset:
    """The data set after a person has put right what is wrong among `looked_at`."""
    found = {file: planted.truth[file] for file in looked_at if file in planted.wrong}
    return Corrections.of(found).apply(planted.dataset, may_change_nothing=True)


def record_key(dataset: Dataset, settings: Settings, seed: int, identity: Mapping[str, Any]) -> str:
    """SHA-256 over all that decides the record of a run."""
    parts = [asdict(settings) | {"config": settings.config.model_dump()}, seed, dict(identity)]
    text = json.dumps([*parts, dataset.sha256, dataset.class_words], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def most_tunings(settings: Settings) -> int:
    """What one record takes at most: as given, reviewed in either order, and all put right."""
    return 2 + len(ORDERS) * sum(share > 0 for share in settings.shares)


class Bench:
    """A backbone and its feature store; counts the images that go through the tower."""

    def __init__(self, backbone: Backbone, feature_dir: Path) -> None:
        self.backbone, self.feature_dir = backbone, feature_dir
        self.encoded = 0
        backbone.image_tower.register_forward_hook(self._count)

    def measure(
        self, dataset: Dataset, settings: Settings, seed: int, told: OnProgress
    ) -> dict[str, Any]:
        """The record of one data set and seed; accuracies are shares of 1 on clean test images."""
        planted = plant(dataset, settings, seed)
        runs = _Runs(self, settings.config.model_copy(update={"seed": seed}), told)
        before = self.encoded
        first = runs.of(planted.dataset)
        encoded = self.encoded - before
        files = list(planted.given)
        # not the seed alone: the flips are drawn from that
        shuffled = np.random.default_rng([seed, 1]).permutation(len(files))
        orders: dict[Order, list[str]] = {
            "audit": [entry.file for entry in first.audit.entries],
            "random": [files[at] for at in shuffled],
        }
        points = []
        for order in ORDERS:
            for share in settings.shares:
                looked_at = orders[order][: round(share * len(files))]
                found = len(planted.wrong & set(looked_at))
                points.append(
                    {
                        "order": order,
                        "share": share,
                        "reviewed": len(looked_at),
                        "wrong_found": found,
                        "wrong_left": len(planted.wrong) - found,
                        "accuracy": served_accuracy(runs.of(reviewed(planted, looked_at))),
                    }
                )
        return {
            "seed": seed,
            "images": len(files),
            "test_images": first.metrics["zero_shot"]["images"],
            "wrong": len(planted.wrong),
            "can_tell": first.audit.can_tell,
            "zero_shot": first.metrics["zero_shot"]["accuracy"],
            "all_right": served_accuracy(runs.of(reviewed(planted, files))),
            "points": points,
            "images_encoded_first": encoded,
            "images_encoded_later": self.encoded - before - encoded,
            "given": dict(planted.given),
        }

    def _count(self, _tower: nn.Module, arguments: tuple[Tensor, ...], _out: Tensor) -> None:
        self.encoded += len(arguments[0])


class _Runs:
    """Tunings with the same settings, one for each state that the labels are in."""

    def __init__(self, bench: Bench, config: TuneConfig, told: OnProgress) -> None:
        self._bench, self._config, self._told = bench, config, told
        self._known: dict[str, TuneResult] = {}

    def of(self, dataset: Dataset) -> TuneResult:
        if dataset.sha256 not in self._known:
            over = len(self._known)
            self._known[dataset.sha256] = tune(
                dataset,
                self._config,
                listener=_Share(lambda share: self._told(over + share)),
                feature_dir=self._bench.feature_dir,
                backbone=self._bench.backbone,
            )
            self._told(over + 1)
        return self._known[dataset.sha256]


def served_accuracy(result: TuneResult) -> float:
    """Accuracy of what the service would answer with, on the test images."""
    accuracy: float = result.metrics[result.metrics["served"]]["accuracy"]
    return accuracy


class _Share(Listener):
    """Of a tuning, how much is over."""

    def __init__(self, told: OnProgress) -> None:
        self._told = told

    def progress(self, progress: Progress) -> None:
        self._told(progress.fraction)
