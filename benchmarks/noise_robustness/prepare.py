"""From paths to jobs: encodes data sets, draws shots, makes labels wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress, TaskID

from benchmarks.noise_robustness.datasets import open_set
from benchmarks.noise_robustness.encode import EncodedSet, encode_set
from benchmarks.noise_robustness.given_labels import GivenLabels
from benchmarks.noise_robustness.settings import Cell, Settings
from dspt.backbones import Backbone
from dspt.features.store import FeatureStore
from dspt.labels.inject import flip_labels

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Job:
    """What a process needs to run a cell."""

    cell: Cell
    class_words: tuple[str, ...]
    file: Path
    """Features, written by `encode`."""
    positions: Labels
    """(N,) rows of the training features."""
    given: Labels
    """(N,) labels to fit on."""
    true: Labels
    """(N,) for the evaluation only; no method sees them."""


def encode_all(
    paths: Mapping[str, Path],
    settings: Settings,
    backbone: Backbone,
    folder: Path,
    store: FeatureStore,
    bar: Progress,
) -> dict[str, EncodedSet]:
    """Return the data sets by name, their features in `folder`. Raises DatasetError."""
    found: dict[str, EncodedSet] = {}
    for name, path in paths.items():
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
                all_images=settings.unlabelled,
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
    data, noise = sets[cell.dataset], cell.noise
    positions = data.samples[cell.shots, cell.seed]
    true = given = data.labels[positions]
    if noise.kind == "human":
        assert human is not None
        given = human.of([data.files[at] for at in positions], noise.column, data.classes)
    elif noise.kind != "clean":
        assert noise.protocol is not None
        given = flip_labels(
            true, len(data.classes), noise.rate, noise.kind, noise.protocol, cell.seed
        ).labels
    return Job(cell, data.class_words, data.file, positions, given, true)
