"""From paths to jobs: data sets encoded, shots drawn, labels made wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress, TaskID

from benchmarks.noise_robustness.cells import Job
from benchmarks.noise_robustness.datasets import open_set, set_name
from benchmarks.noise_robustness.encode import EncodedSet, encode_set
from benchmarks.noise_robustness.given_labels import GivenLabels
from benchmarks.noise_robustness.settings import Cell, Noise, Settings
from dspt.backbones import Backbone
from dspt.errors import DatasetError, Problem
from dspt.features.store import FeatureStore
from dspt.labels.inject import flip_labels

Labels = NDArray[np.int64]


def unique_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """What the data sets are called. Raises DatasetError where two have the same name."""
    names = [set_name(path) for path in paths]
    for path, name in zip(paths, names, strict=True):
        if names.count(name) > 1:
            message = f"two data sets are called {name!r}; rename a folder"
            raise DatasetError([Problem(str(path), "same_name", message)])
    return tuple(names)


def read_given_labels(table: Path | None, settings: Settings) -> GivenLabels | None:
    """The labels that noise of kind `human` takes. Raises DatasetError."""
    if table is None:
        return None
    columns = [noise.column for noise in settings.noises if noise.kind == "human"]
    return GivenLabels.read(table, columns)


def encode_all(
    paths: Sequence[Path],
    settings: Settings,
    backbone: Backbone,
    folder: Path,
    store: FeatureStore,
    bar: Progress,
) -> dict[str, EncodedSet]:
    """The data sets by name, their features in `folder`. Raises DatasetError."""
    found: dict[str, EncodedSet] = {}
    for path in paths:
        name = set_name(path)
        task = bar.add_task(f"{name}: reading", total=None)

        def advance(done: int, total: int, task: TaskID = task) -> None:
            bar.update(task, completed=done, total=total)

        listing = open_set(path, advance)
        try:
            bar.update(task, description=f"{name}: encoding", completed=0)
            found[name] = encode_set(
                listing,
                backbone,
                folder / f"{len(found)}.safetensors",
                shots=settings.shots,
                seeds=settings.seeds,
                augment_views=settings.train_views,
                store=store,
                progress=advance,
            )
        finally:
            listing.source.close()
            bar.remove_task(task)
    return found


def make_job(cell: Cell, sets: Mapping[str, EncodedSet], human: GivenLabels | None) -> Job:
    """Draw the shots of `cell` and make their labels wrong.

    Raises ValueError for noise that these labels cannot have (see flip_labels), and DatasetError
    for a table of human labels that does not fit.
    """
    data = sets[cell.dataset]
    positions = data.samples[cell.shots, cell.seed]
    true = data.labels[positions]
    if cell.noise.kind == "human":
        assert human is not None
        files = [data.files[at] for at in positions]
        given = human.of(files, cell.noise.column, data.classes)
    else:
        given = _flipped(cell.noise, true, len(data.classes), cell.seed)
    return Job(cell, data.class_words, data.file, positions, given, true)


def _flipped(noise: Noise, true: Labels, n_classes: int, seed: int) -> Labels:
    if noise.kind not in ("symmetric", "asymmetric"):
        return true
    assert noise.protocol is not None
    return flip_labels(true, n_classes, noise.rate, noise.kind, noise.protocol, seed).labels
