"""A few shots of a data set with injected wrong labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dspt.data import Dataset, few_shot
from dspt.labels.corrections import Corrections
from dspt.labels.inject import NoiseKind, NoiseProtocol, flip_labels


@dataclass(frozen=True)
class Planted:
    """Few shots of a data set with some wrong labels, and the test images."""

    dataset: Dataset
    labels: Mapping[str, str]
    """Training file -> class, partly wrong."""
    true_labels: Mapping[str, str]

    @property
    def wrong(self) -> frozenset[str]:
        """Files whose label is wrong."""
        return frozenset(f for f, name in self.labels.items() if name != self.true_labels[f])


def plant(
    dataset: Dataset, shots: int, rate: float, kind: NoiseKind, protocol: NoiseProtocol, seed: int
) -> Planted:
    """Draw shots by true class, then flip a share `rate` of their labels.

    Nothing is copied: the labels are changed by the same means that users correct them with.
    """
    train = dataset.of_split("train")
    labels = dataset.labels("train")
    drawn = few_shot(labels, shots, seed)
    flips = flip_labels(labels[drawn], len(dataset.classes), rate, kind, protocol, seed)
    files = [train[row].path for row in drawn]
    noisy = {f: dataset.classes[i] for f, i in zip(files, flips.labels, strict=True)}
    true = {f: dataset.classes[i] for f, i in zip(files, flips.original, strict=True)}
    others = {item.path for item in train} - set(files)
    planted = Corrections.of(noisy, others).apply(dataset, may_change_nothing=True)
    return Planted(planted, noisy, true)
