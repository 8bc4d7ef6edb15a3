"""Measures several runs on each data set; finished runs are kept, so that a run can be resumed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from benchmarks.skeleton.data_sets import find_sets, no_test_part
from benchmarks.skeleton.machine import digest_of_code, library_digest
from benchmarks.skeleton.options import tune_config
from benchmarks.skeleton.program import Document, grid_progress
from benchmarks.skeleton.records import Records, key_of
from dspt.backbones import Backbone, load_backbone
from dspt.data import Dataset, load_dataset
from dspt.kit.device import resolve_device

OnProgress = Callable[[float], None]
"""Called with the number of tunings that are finished; a running one counts in part."""
Measure = Callable[[Backbone, Dataset, OnProgress], dict[str, Any]]


def sweep(
    options: argparse.Namespace,
    document: Document,
    console: Console,
    name: str,
    settings: Mapping[str, Any],
    runs: Mapping[str, tuple[Mapping[str, Any], Measure]],
    *,
    tunings: int,
    code: Sequence[ModuleType],
) -> None:
    """Fill in `document["datasets"]`: for each data set of --data one record per run.

    name: of the benchmark. settings: decide all records. runs: name -> what decides its records
    besides, and the function that measures it. tunings: how many a run takes at most. code: modules
    whose change makes stored records out of date. Raises DsptError.
    """
    config = tune_config(options)
    sets = find_sets(options.data)
    backbone = load_backbone(config.backbone, device=resolve_device(config.device))
    document |= {
        "backbone_digest": backbone.digest,
        "device": backbone.device.type,
        "code": [library_digest(), digest_of_code(Path(str(module.__file__)) for module in code)],
        "settings": {**settings, "config": config.model_dump(), "seeds": options.seeds},
        "datasets": {},
    }
    identity: dict[str, Any] = {
        part: document[part] for part in ("backbone_digest", "device", "code", "versions")
    }
    identity |= {"settings": dict(settings), "config": config.model_dump()}
    records = Records(options.out / f"{name}_cells")
    with grid_progress(console) as bar:
        task = bar.add_task("", total=tunings * len(sets) * len(runs))
        finished = 0
        for set_name, path in sets.items():
            bar.update(task, description=f"{set_name}: reading")
            with load_dataset(path) as dataset:
                if not dataset.of_split("test"):
                    raise no_test_part(path)
                found = document["datasets"][set_name] = []
                for run_name, (values, measure) in runs.items():
                    bar.update(task, description=f"{set_name}, {run_name}")
                    data = {"sha256": dataset.sha256, "class_words": dataset.class_words}
                    key = key_of({**identity, **data, "run": dict(values)})

                    def advance(done: float, before: int = finished) -> None:
                        bar.update(task, completed=before + done)

                    record = records.get(key)
                    if record is None:
                        record = records.put(key, key, measure(backbone, dataset, advance))
                    found.append(record)
                    finished += tunings
                    advance(0, finished)
