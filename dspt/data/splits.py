"""Which images a job tunes on, measures on and audits: shots, hold-out and folds, all by seed.

Copies of a photo (`dspt.data.copies`) have the same number in `groups`. One image of each group is
tuned on or measured on, and a group is never on both sides of a split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dspt.config import TuneConfig
from dspt.data.dataset import Dataset
from dspt.errors import ConfigError, DatasetError, DsptError, Problem

FOLDS = 4

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Rows (positions in `dataset.items`) of each part."""

    train: Rows
    """All training images. Each of them is audited."""
    sampled: Rows
    """The training images that remain after `shots`."""
    fit: Rows
    """The images that the served classifier is tuned on: `sampled` without the held-out ones."""
    measured: Rows
    """The images that accuracy is measured on."""
    leaked: Rows
    """The images of `test/` (or `val/`) that have a copy in training, so they are not measured."""
    validation: Rows
    """The images of `val/` where accuracy is measured on `test/`. They calibrate the classifiers
    and take part in the choice of the served one."""
    measured_on: Literal["test", "val", "held_out"]

    @property
    def labels(self) -> Literal["clean", "given"]:
        """Whether the measured labels count as clean, or are the given ones, some maybe wrong."""
        return "given" if self.measured_on == "held_out" else "clean"

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        config: TuneConfig,
        groups: Rows | None = None,
        uploaded_groups: Rows | None = None,
    ) -> Self:
        """Measure on `test/` if there is one, else `val/`, else a share of the sampled images.

        With both, `val/` is the validation part, without the images that have a copy in another.
        The images of a corrected data set are drawn by the labels as uploaded. So an image that was
        held out before a correction is held out after it, and the results can be compared.
        groups: (N,), equal for copies of a photo. Default: there are no copies; uploaded_groups:
        (U,), the same of `dataset.uploaded`. Default: dropped images have no copies. A folder whose
        images all have a copy in training is not measured on.

        Raises ConfigError or DatasetError if every class has too few images to hold one out.
        """
        groups = np.arange(len(dataset.items)) if groups is None else groups
        if dataset.uploaded:
            known = {item.path: group for item, group in zip(dataset.items, groups, strict=True)}
            if uploaded_groups is None:
                own = [known.get(item.path, -1 - row) for row, item in enumerate(dataset.uploaded)]
                uploaded_groups = np.array(own)
            uploaded = replace(dataset, items=dataset.uploaded, uploaded=())
            before = cls.of(uploaded, config, uploaded_groups)
            corrected = before._corrected(dataset, groups)
            return corrected or cls.of(replace(dataset, uploaded=()), config, groups)
        labels = np.array([item.label for item in dataset.items])
        parts = np.array([item.split for item in dataset.items])
        train = np.flatnonzero(parts == "train")
        sampled = without_copies(train, groups, labels)
        if config.shots is not None:
            sampled = sampled[few_shot(labels[sampled], config.shots, config.seed)]
        leaked = validation = np.empty(0, np.int64)
        for part in ("test", "val"):
            rows = np.flatnonzero(parts == part)
            copied = np.isin(groups[rows], groups[train])
            unseen, leaked = rows[~copied], rows[copied] if copied.any() else leaked
            if len(unseen):
                measured = without_copies(unseen, groups, labels)
                if part == "test":
                    others = np.flatnonzero(parts == "val")
                    seen = np.isin(groups[others], groups[parts != "val"])
                    validation = without_copies(others[~seen], groups, labels)
                return cls(train, sampled, sampled, measured, leaked, validation, part)
        fit, held_out = stratified_holdout(labels[sampled], config.validation_fraction, config.seed)
        if not len(held_out):
            raise _nothing_to_measure_on(config)
        fitted, measured = sampled[fit], sampled[held_out]
        return cls(train, sampled, fitted, measured, leaked, validation, "held_out")

    def _corrected(self, dataset: Dataset, groups: Rows) -> Self | None:
        """Return the same split of the images that the corrections kept.

        A class whose images are all held out, or not sampled, gets one of them to tune on. None if
        no held-out image remains.
        """
        row_of = {item.path: row for row, item in enumerate(dataset.items)}
        now = np.array([row_of.get(item.path, -1) for item in dataset.uploaded])
        parts = self.train, self.sampled, self.fit, self.measured, self.leaked, self.validation
        train, sampled, fit, measured, leaked, validation = (
            now[rows][now[rows] >= 0] for rows in parts
        )
        labels = np.array([item.label for item in dataset.items])
        missing = np.setdiff1d(labels[train], labels[fit])
        moved = np.array([train[labels[train] == label][0] for label in missing], np.int64)
        sampled, fit = np.union1d(sampled, moved), np.union1d(fit, moved)
        measured = measured[~np.isin(groups[measured], groups[moved])]
        if not len(measured):
            return None
        return type(self)(train, sampled, fit, measured, leaked, validation, self.measured_on)


@dataclass(frozen=True)
class CrossFit:
    """Folds of N training images, so that each is scored by a model that was not tuned on it.

    Northcutt, Jiang & Chuang (JAIR 2021) rank labels by such out-of-sample probabilities.
    """

    held_out: tuple[Rows, ...]
    """The validation rows of each fold, 0..N-1; together they are all N rows."""
    train_mask: NDArray[np.bool_]
    """(N,): the rows that models may be tuned on; the others are only scored."""

    @classmethod
    def plan(
        cls,
        labels: Rows,
        seed: int,
        train_mask: NDArray[np.bool_] | None = None,
        groups: Rows | None = None,
    ) -> Self:
        """Divide the rows into stratified folds that also divide the tuned rows evenly.

        labels: (N,); train_mask: (N,). Default: all rows; groups: (N,), equal for copies of a
        photo. Default: there are no copies. One row of each group is tuned on, and its copies are
        in the same fold. The other rows are divided separately: otherwise a few shots could all
        fall into one fold, and its model would have no training images.
        """
        allowed = np.arange(len(labels)) if train_mask is None else np.flatnonzero(train_mask)
        groups = np.arange(len(labels)) if groups is None else groups
        tuned = without_copies(allowed, groups, labels)
        if len(tuned) < 2:  # all images are copies of one: nothing is left to separate
            tuned, groups = allowed, np.arange(len(labels))
        mask = np.isin(np.arange(len(labels)), tuned)
        folds = [
            np.flatnonzero(np.isin(groups, groups[tuned[fold]]))
            for fold in stratified_folds(labels[tuned], FOLDS, seed)
        ]
        rest = np.flatnonzero(~np.isin(groups, groups[tuned]))
        parts = [rest]
        if len(rest) > 1:
            parts = [rest[fold] for fold in stratified_folds(labels[rest], len(folds), seed)]
        for i, part in enumerate(parts):
            folds[i] = np.sort(np.concatenate([folds[i], part]))
        return cls(tuple(folds), mask)

    @property
    def training_rows(self) -> tuple[Rows, ...]:
        """The rows that the model of each fold is tuned on."""
        return tuple(np.setdiff1d(np.flatnonzero(self.train_mask), fold) for fold in self.held_out)


def without_copies(rows: Rows, groups: Rows, labels: Rows) -> Rows:
    """Return one row of each group: the first one that has the group's most frequent label.

    rows: positions in groups (N,) and labels (N,). Returns sorted rows.
    """
    pairs = groups[rows] * (labels.max(initial=0) + 1) + labels[rows]
    _, pair, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    order = np.lexsort((rows, -counts[pair], groups[rows]))
    _, first = np.unique(groups[rows][order], return_index=True)
    return np.sort(rows[order[first]])


def few_shot(labels: ArrayLike, shots: int, seed: int) -> Rows:
    """Draw at most `shots` images of every class at random.

    labels: (N,) class of each image. Returns sorted indices into it.
    """
    if shots < 1:
        raise ValueError(f"shots must be at least 1, not {shots}")
    drawn = [members[:shots] for members in _shuffled_classes(labels, seed)]
    return _sorted(drawn)


def stratified_holdout(labels: ArrayLike, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Hold out about `fraction` of every class.

    A class of two or more images has at least one on either side; a class of one stays in
    training. Returns the sorted indices (training, held out).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, not {fraction}")
    kept, held_out = [], []
    for members in _shuffled_classes(labels, seed):
        n = min(len(members) - 1, max(1, round(fraction * len(members))))
        held_out.append(members[:n])
        kept.append(members[n:])
    return _sorted(kept), _sorted(held_out)


def stratified_folds(labels: ArrayLike, k: int, seed: int) -> list[Rows]:
    """Divide the images into `k` folds, or one per image if there are fewer images.

    The sizes of the folds differ by at most one image, in every class and in total. A class with
    fewer images than folds is missing from some folds. Returns the sorted indices of each fold.
    """
    if k < 2:
        raise ValueError(f"k must be at least 2, not {k}")
    dealt = np.concatenate([*_shuffled_classes(labels, seed), np.empty(0, np.int64)])
    if len(dealt) < 2:
        raise ValueError("folds need at least two images")
    k = min(k, len(dealt))
    return [np.sort(dealt[fold::k]) for fold in range(k)]


def _shuffled_classes(labels: ArrayLike, seed: int) -> list[Rows]:
    """The indices of every class in random order, the classes in random order too."""
    array = np.asarray(labels, dtype=np.int64)
    if array.ndim != 1:
        raise ValueError(f"labels must have one dimension, not {array.ndim}")
    rng = np.random.default_rng(seed)
    classes = [rng.permutation(np.flatnonzero(array == c)) for c in np.unique(array)]
    return [classes[i] for i in rng.permutation(len(classes))]


def _sorted(parts: Sequence[Rows]) -> Rows:
    return np.sort(np.concatenate([*parts, np.empty(0, np.int64)]))


def _nothing_to_measure_on(config: TuneConfig) -> DsptError:
    if config.shots == 1:
        return ConfigError(
            "shots is 1, which leaves no image to measure on; set shots to 2 or more, or add a "
            "test/ folder",
            param="shots",
        )
    message = (
        "every class has a single image (copies count as one), so no image is left to measure on; "
        "add images or a test/ folder"
    )
    return DatasetError([Problem("", "nothing_to_measure_on", message)])
