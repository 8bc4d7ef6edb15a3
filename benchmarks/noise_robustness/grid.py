"""Encodes the data sets, runs the cells that are not finished, and fills in the document."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.noise_robustness.datasets import is_set
from benchmarks.noise_robustness.encode import EncodedSet, encode_all
from benchmarks.noise_robustness.given_labels import GivenLabels
from benchmarks.noise_robustness.settings import Cell, Settings
from benchmarks.skeleton.child import run_jobs
from benchmarks.skeleton.data_sets import find_sets
from benchmarks.skeleton.program import Document, grid_progress, print_error
from benchmarks.skeleton.records import Record, Records, identify
from dspt.backbones import load_backbone
from dspt.errors import ConfigError
from dspt.features.store import FeatureStore
from dspt.kit.device import resolve_device, tuning_dtype
from dspt.labels.inject import flip_labels

_NOT_REPORTED = {"key", "files", "true", "given", "dataset_sha256", "classes", "test_images"}

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


Runner = Callable[[Job], dict[str, Any]]
"""Runs cells one after the other."""


def run_grid(
    name: str,
    options: Namespace,
    document: Document,
    console: Console,
    settings: Settings,
    make_runner: Callable[[Settings], Runner],
) -> None:
    """Run every cell of the benchmark `name` without a record in --out, in --jobs processes.

    A cell that fails goes to `document["failed"]`. Also fills in what is finished when it is
    interrupted. Raises DsptError.
    """
    paths = find_sets(options.data, is_set)
    counts: list[int] = vars(options).get("classes") or []
    human = None
    if options.given_labels:
        if len(paths) > 1 or counts:
            raise ConfigError(
                "--given-labels is the table of one data set; give a single --data, without "
                "--classes"
            )
        columns = [noise.column for noise in settings.noises if noise.kind == "human"]
        human = GivenLabels.read(options.given_labels, columns)
    backbone = load_backbone(settings.backbone, device=resolve_device(settings.device))
    dtype = {"dtype": str(tuning_dtype(settings.precision, backbone.device) or "torch.float32")}
    identity = identify(document, backbone, "noise_robustness", name) | dtype
    records = Records(options.out / f"{name}_cells", identity)
    document |= dtype | {"settings": asdict(settings), "datasets": {}, "failed": {}, "cells": []}
    store = FeatureStore(options.features, on_failure=lambda text: print_error(console, text))
    finished: dict[str, Record] = {}
    with (
        tempfile.TemporaryDirectory(prefix="dspt-benchmark-") as temporary,
        grid_progress(console) as bar,
    ):
        sets = encode_all(paths, counts, settings, backbone, Path(temporary), store, bar)
        grid = settings.cells(tuple(sets))
        task = bar.add_task("cells", total=len(grid))

        def fail(cell: Cell, message: str) -> None:
            document["failed"][cell.name] = reason_of(message)
            print_error(console, f"failed: {cell.name}: {message}")
            bar.advance(task)

        def done(job: Job, result: dict[str, Any]) -> None:
            name, data = job.cell.name, sets[job.cell.dataset]
            record = make_record(job, data, result)
            finished[name] = records.put(name, cell_key(records, job, data, settings), record)
            bar.advance(task)

        jobs = []
        for cell in grid:
            try:
                job = make_job(cell, sets, human)
            except ValueError as error:  # these labels cannot have this noise
                fail(cell, str(error))
                continue
            key = cell_key(records, job, sets[cell.dataset], settings)
            record = records.get(cell.name, key)
            if record is None:
                jobs.append(job)
            else:
                finished[cell.name] = record
        if finished:
            bar.advance(task, len(finished))
        end = time.monotonic() + 60 * (options.budget or math.inf)
        try:
            run_jobs(
                jobs,
                partial(make_runner, settings),
                options.jobs,
                done=done,
                failed=lambda job, message: fail(job.cell, message),
                may_start=lambda: time.monotonic() < end,
            )
        finally:
            if len(finished) + len(document["failed"]) < len(grid):
                console.print(
                    f"Stopped with {len(finished)} of {len(grid)} cells finished. "
                    "The same command resumes."
                )
            ordered = [finished[cell.name] for cell in grid if cell.name in finished]
            document["datasets"] = {name: _about(data) for name, data in sets.items()}
            document["cells"] = [_reported(record) for record in ordered]


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
        given = human.of([data.files[at] for at in positions], noise.column, data.listing.classes)
    elif noise.kind != "clean":
        assert noise.protocol is not None
        given = flip_labels(
            true, len(data.listing.classes), noise.rate, noise.kind, noise.protocol, cell.seed
        ).labels
    return Job(cell, data.listing.class_words, data.file, positions, given, true)


def make_record(job: Job, data: EncodedSet, result: Mapping[str, Any]) -> Record:
    """Return all of a cell: its settings, its labels by file, and the result."""
    cell = job.cell
    return {
        "dataset_sha256": data.sha256,
        "name": cell.name,
        "dataset": cell.dataset,
        "shots": cell.shots,
        "seed": cell.seed,
        "noise": {**asdict(cell.noise), "name": cell.noise.name},
        "wrong_share": float(np.mean(job.given != job.true)),
        "images": len(job.given),
        "files": [data.files[at] for at in job.positions],
        "true": job.true.tolist(),
        "given": job.given.tolist(),
        **result,
    }


def cell_key(records: Records, job: Job, data: EncodedSet, settings: Settings) -> str:
    """Return a digest over everything that decides the record of `job`."""
    return records.key(
        cell=asdict(job.cell),
        recipe=asdict(settings.recipe),
        methods=settings.methods,
        default=settings.tune_config(job.cell.seed).model_dump(),
        logistic_c=settings.logistic_c,
        class_words=data.listing.class_words,
        images=[data.hashes[at] for at in job.positions],
        given=job.given.tolist(),
        true=job.true.tolist(),
        test=data.test_sha256,
    )


def _about(data: EncodedSet) -> dict[str, Any]:
    return {"sha256": data.sha256, "classes": len(data.listing.classes), "test_images": data.n_test}


def _reported(record: Record) -> Record:
    """Return the part of a record that is published, with a digest of its labels."""
    labels = json.dumps([record["files"], record["true"], record["given"]])
    found = {name: value for name, value in record.items() if name not in _NOT_REPORTED}
    return found | {"flip_map_sha256": hashlib.sha256(labels.encode()).hexdigest()}


def reason_of(message: str) -> str:
    """Return the line `Type: message` of a traceback; lines of advice may follow it."""
    lines = message.splitlines() or [""]
    return next((line for line in lines[::-1] if re.match(r"[\w.]+: ", line)), lines[-1])
