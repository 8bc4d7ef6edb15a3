"""Measures several runs on each data set, from a few shots with injected wrong labels.

Finished runs are kept, so that a run can be resumed.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from benchmarks.skeleton.data_sets import find_sets, no_test_part
from benchmarks.skeleton.options import tune_config
from benchmarks.skeleton.program import Document, grid_progress
from benchmarks.skeleton.records import Records, identify
from dspt.backbones import Backbone, load_backbone
from dspt.config import TuneConfig
from dspt.data import Dataset, few_shot, load_dataset
from dspt.kit.device import resolve_device
from dspt.labels.corrections import Corrections
from dspt.labels.inject import NoiseKind, NoiseProtocol, flip_labels

OnProgress = Callable[[float], None]
"""Called with the number of tunings that are finished; a running one counts in part."""
Measure = Callable[[Namespace, TuneConfig, Backbone, Dataset, OnProgress], dict[str, Any]]


def sweep(
    name: str,
    options: Namespace,
    document: Document,
    console: Console,
    runs: Sequence[Mapping[str, Any]],
    measure: Measure,
    *,
    settings: Sequence[str],
    tunings: int,
) -> None:
    """Fill in `document["datasets"]`: for each data set of --data one record per run.

    name: of the benchmark. runs: options of each run, the seed among them. settings: options that
    decide all records. tunings: how many a run takes at most. Raises DsptError.
    """
    config = tune_config(options)
    sets = find_sets(options.data)
    backbone = load_backbone(config.backbone, device=resolve_device(config.device))
    chosen = {setting: getattr(options, setting) for setting in settings}
    identity = identify(document, backbone, name) | chosen | {"config": config.model_dump()}
    document["settings"] = {**chosen, "config": config.model_dump(), "seeds": options.seeds}
    document["datasets"] = {}
    records = Records(options.out / f"{name}_cells", identity)
    with grid_progress(console) as bar:
        task = bar.add_task("", total=tunings * len(sets) * len(runs))
        finished = 0
        for set_name, path in sets.items():
            bar.update(task, description=f"{set_name}: reading")
            with load_dataset(path) as dataset:
                if not dataset.of_split("test"):
                    raise no_test_part(path)
                found = document["datasets"][set_name] = []
                for run in runs:
                    title = ", ".join(f"{what} {value:g}" for what, value in run.items())
                    bar.update(task, description=f"{set_name}, {title}")
                    data = {"sha256": dataset.sha256, "class_words": dataset.class_words}
                    key = records.key(**data, run=run)

                    def advance(done: float, before: int = finished) -> None:
                        bar.update(task, completed=before + done)

                    record = records.get(key, key)
                    if record is None:
                        own = Namespace(**{**vars(options), **run})
                        seeded = config.model_copy(update={"seed": own.seed})
                        measured = measure(own, seeded, backbone, dataset, advance)
                        record = records.put(key, key, measured)
                    found.append(record)
                    finished += tunings
                    advance(0, finished)


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
