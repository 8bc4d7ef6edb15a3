"""One tuning on small real photographs, and what the tests of it share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.data import Dataset, read_image
from dspt.model.predict import FeatureClassifier
from dspt.pipeline import Listener, Progress, TuneResult, tune

CLASSES = ("brick", "coins", "moon", "tissue")
"""Zero-shot tells fewer than half of them, so tuning has something to do."""
TRAIN, TEST = 8, 5
STAGES = ["encoding", "zero_shot", "tuning", "evaluating", "saving"]
EPOCHS = 4
SETTINGS: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 16, "device": "cpu"}


class Recorder(Listener):
    """Keeps all reports."""

    def __init__(self) -> None:
        self.steps: list[Progress] = []
        self.epochs: list[dict[str, Any]] = []
        self.warnings: list[str] = []

    def progress(self, progress: Progress) -> None:
        self.steps.append(progress)

    def metrics(self, metrics: dict[str, Any]) -> None:
        self.epochs.append(metrics)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def run(
    dataset: Dataset,
    backbone: Backbone,
    features: Path,
    listener: Listener | None = None,
    **config: Any,
) -> TuneResult:
    settings = TuneConfig(**SETTINGS | config)
    return tune(dataset, settings, listener=listener, feature_dir=features, backbone=backbone)


def relabelled(dataset: Dataset, labels: list[int], target: Path) -> Path:
    """The training images of `dataset` in the folders of other classes, beside its test images."""
    given = iter(labels)
    for row, item in enumerate(dataset.items):
        label = next(given) if item.split == "train" else item.label
        file = target / item.split / dataset.classes[label] / f"{row:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dataset.source.read(item.path))
    return target


def images(dataset: Dataset, split: str) -> tuple[list[Image.Image], list[str]]:
    items = [item for item in dataset.items if item.split == split]
    return [read_image(dataset, item) for item in items], [dataset.classes[i.label] for i in items]


@dataclass(frozen=True)
class Seen:
    """Features of photographs, and their classes."""

    features: torch.Tensor
    truth: list[str]

    def accuracy(self, classifier: FeatureClassifier) -> float:
        """Return the share of the photographs that `classifier` is right about."""
        answers = classifier.top(self.features, top_k=1)
        right = [top[0][0] == label for top, label in zip(answers, self.truth, strict=True)]
        return sum(right) / len(right)


def same_blend(one: TuneResult, other: TuneResult) -> bool:
    """Whether both have a blend, and the same to the bit."""
    mine, theirs = one.model.blend, other.model.blend
    return (
        mine is not None
        and theirs is not None
        and torch.equal(mine.matrix, theirs.matrix)
        and torch.equal(mine.bias, theirs.bias)
    )
