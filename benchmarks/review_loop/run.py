"""Reviews the labels of one data set as a person who knows the true labels would."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from rich.console import Console

from benchmarks.skeleton.program import Document
from benchmarks.skeleton.sweep import OnProgress, Planted, plant, sweep
from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.data import Dataset
from dspt.kit.progress import Listener, Progress
from dspt.labels.corrections import Corrections
from dspt.pipeline import TuneResult, tune

Order = Literal["audit", "random"]
ORDERS: tuple[Order, ...] = ("audit", "random")


def measure(options: Namespace, document: Document, console: Console) -> None:
    """Fill in one record per data set and seed."""
    options.shares = tuple(sorted({0.0, *options.shares}))
    sweep(
        "review_loop",
        *(options, document, console),
        [{"seed": seed} for seed in options.seeds],
        one_seed,
        settings=("shots", "rate", "kind", "protocol", "shares"),
        # At most: with unreviewed labels, for each order and share, with all labels corrected.
        tunings=2 + len(ORDERS) * sum(share > 0 for share in options.shares),
    )


def reviewed(planted: Planted, files: Sequence[str]) -> Dataset:
    """Return the data set after the wrong labels among `files` have been corrected."""
    found = {file: planted.true_labels[file] for file in files if file in planted.wrong}
    return Corrections.of(found).apply(planted.dataset, may_change_nothing=True)


def one_seed(
    options: Namespace,
    config: TuneConfig,
    backbone: Backbone,
    dataset: Dataset,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Return the record of one data set and seed; accuracies from 0 to 1 on clean test images."""
    seed = config.seed
    planted = plant(dataset, options.shots, options.rate, options.kind, options.protocol, seed)
    runs = _Runs(options, config, backbone, on_progress)
    first = runs.tune(planted.dataset)
    files = list(planted.labels)
    # not the seed alone: the flips are drawn with it
    shuffled = np.random.default_rng([seed, 1]).permutation(len(files))
    orders: dict[Order, list[str]] = {
        "audit": [entry.file for entry in first.audit.entries],
        "random": [files[at] for at in shuffled],
    }
    points = []
    for order in ORDERS:
        for share in options.shares:
            first_files = orders[order][: round(share * len(files))]
            found = len(planted.wrong & set(first_files))
            points.append(
                {
                    "order": order,
                    "share": share,
                    "reviewed": len(first_files),
                    "wrong_found": found,
                    "wrong_left": len(planted.wrong) - found,
                    "accuracy": _served_accuracy(runs.tune(reviewed(planted, first_files))),
                }
            )
    return {
        "seed": seed,
        "images": len(files),
        "test_images": first.metrics["zero_shot"]["images"],
        "wrong": len(planted.wrong),
        "can_tell": first.audit.can_tell,
        "zero_shot": first.metrics["zero_shot"]["accuracy"],
        "all_right": _served_accuracy(runs.tune(reviewed(planted, files))),
        "points": points,
        "given": dict(planted.labels),
    }


def _served_accuracy(result: TuneResult) -> float:
    """Return the accuracy of the served classifier on the test images."""
    accuracy: float = result.metrics[result.metrics["served"]]["accuracy"]
    return accuracy


class _Runs(Listener):
    """Tunings with the same settings, one per state of the labels."""

    def __init__(
        self, options: Namespace, config: TuneConfig, backbone: Backbone, on_progress: OnProgress
    ) -> None:
        self._on_progress = on_progress
        self._options: dict[str, Any] = {
            "config": config,
            "feature_dir": options.features,
            "backbone": backbone,
        }
        self._results: dict[tuple[str, frozenset[str]], TuneResult] = {}

    def tune(self, dataset: Dataset) -> TuneResult:
        """Return the result for these labels; equal ones, equally confirmed, are tuned once."""
        labels = dataset.sha256, dataset.confirmed
        if labels not in self._results:
            self._results[labels] = tune(dataset, listener=self, **self._options)
        return self._results[labels]

    def progress(self, progress: Progress) -> None:
        self._on_progress(len(self._results) + progress.fraction)
