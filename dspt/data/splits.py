"""Which images a job tunes on, measures on and audits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from dspt.config import TuneConfig
from dspt.data import Dataset, few_shot, stratified_holdout
from dspt.errors import ConfigError, DatasetError, DsptError, Problem

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Rows (positions in `dataset.items`) of each part."""

    train: Rows
    """All training images: each is audited."""
    sampled: Rows
    """Those of them that `shots` lets in."""
    fit: Rows
    """What the served classifier is tuned on: `sampled`, less what is held out."""
    measured: Rows
    """What accuracy is measured on."""
    measured_on: Literal["test", "val", "held_out"]

    @property
    def labels(self) -> Literal["clean", "given"]:
        """Whether the measured labels are taken as clean, or are the given, maybe wrong ones."""
        return "given" if self.measured_on == "held_out" else "clean"

    @classmethod
    def of(cls, dataset: Dataset, config: TuneConfig) -> Self:
        """`test/` if there is one, else `val/`, else a held-out share of the sampled images.

        Raises ConfigError or DatasetError where no class has an image to spare for it.
        """
        labels = np.array([item.label for item in dataset.items])
        parts = np.array([item.split for item in dataset.items])
        train = np.flatnonzero(parts == "train")
        sampled = train
        if config.shots is not None:
            sampled = train[few_shot(labels[train], config.shots, config.seed)]
        for part in ("test", "val"):
            rows = np.flatnonzero(parts == part)
            if len(rows):
                return cls(train, sampled, sampled, rows, part)
        fit, held = stratified_holdout(labels[sampled], config.validation_fraction, config.seed)
        if not len(held):
            raise _nothing_to_measure_on(config)
        return cls(train, sampled, sampled[fit], sampled[held], "held_out")


def _nothing_to_measure_on(config: TuneConfig) -> DsptError:
    if config.shots == 1:
        return ConfigError(
            "shots is 1, which leaves no image to measure on; set shots to 2 or more, or add a "
            "test/ folder",
            param="shots",
        )
    message = (
        "every class has a single image, which leaves none to measure on; add images, or a test/ "
        "folder"
    )
    return DatasetError([Problem("", "nothing_to_measure_on", message)])
