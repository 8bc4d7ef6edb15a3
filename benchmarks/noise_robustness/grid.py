"""Encodes the data sets, runs the cells that are not finished, and fills in the document."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.noise_robustness.classes import draw_classes
from benchmarks.noise_robustness.datasets import is_set
from benchmarks.noise_robustness.encode import EncodedSet
from benchmarks.noise_robustness.given_labels import read_given_labels
from benchmarks.noise_robustness.prepare import Job, encode_all, make_job
from benchmarks.noise_robustness.settings import Cell, Settings
from benchmarks.skeleton.data_sets import find_sets
from benchmarks.skeleton.machine import digest_of_code, library_digest
from benchmarks.skeleton.program import Document, grid_progress, print_error
from benchmarks.skeleton.records import Record, Records, key_of
from dspt.backbones import Backbone, load_backbone
from dspt.errors import ConfigError
from dspt.features.store import FeatureStore
from dspt.kit.device import resolve_device, tuning_dtype

Done = Callable[[Job, dict[str, Any]], None]
Failed = Callable[[Job, BaseException], None]
RunJobs = Callable[[Sequence[Job], Backbone, Done, Failed], None]
"""Runs every job once, or stops early; calls the one or the other function as each job ends."""

_NOT_REPORTED = {"key", "files", "true", "given", "dataset_sha256", "classes", "test_images"}


def run_grid(
    options: argparse.Namespace,
    document: Document,
    console: Console,
    settings: Settings,
    run_jobs: RunJobs,
    *,
    folder: str,
    code: Sequence[ModuleType],
) -> None:
    """Run every cell without a record in this folder of --out, or all with --fresh.

    code: modules whose change makes records out of date. A cell that fails goes to
    `document["failed"]`. Also fills in what is finished when it is interrupted. Raises DsptError.
    """
    paths = find_sets(options.data, is_set)
    counts: list[int] = vars(options).get("classes") or []
    if options.given_labels and (len(paths) > 1 or counts):
        raise ConfigError(
            "--given-labels is the table of one data set; give a single --data, without --classes"
        )
    human = read_given_labels(options.given_labels, settings)
    backbone = load_backbone(settings.backbone, device=resolve_device(settings.device))
    modules = [Path(str(module.__file__)) for module in code]
    identity = {
        "backbone_digest": backbone.digest,
        "device": backbone.device.type,
        "dtype": str(tuning_dtype(settings.precision, backbone.device) or "torch.float32"),
        "versions": document["versions"],
        "code": [library_digest(), digest_of_code(modules)],
    }
    document |= identity
    document |= {"settings": asdict(settings), "datasets": {}, "failed": {}, "cells": []}
    store = FeatureStore(options.features, on_failure=lambda text: print_error(console, text))
    records = Records(options.out / folder)
    finished: dict[str, Record] = {}
    with (
        tempfile.TemporaryDirectory(prefix="dspt-benchmark-") as temporary,
        grid_progress(console) as bar,
    ):
        sets = encode_all(paths, settings, backbone, Path(temporary), store, bar)
        if counts:
            parts = tuple(sets.values())
            drawn = [
                draw_classes(parts, count, Path(temporary) / f"classes-{count}.safetensors")
                for count in dict.fromkeys(counts)
            ]
            sets = {data.name: data for data in drawn}
        grid = settings.cells(tuple(sets))
        task = bar.add_task("cells", total=len(grid))

        def fail(cell: Cell, message: str) -> None:
            document["failed"][cell.name] = message
            print_error(console, f"failed: {cell.name}: {message}")
            bar.advance(task)

        def done(job: Job, result: dict[str, Any]) -> None:
            name, data = job.cell.name, sets[job.cell.dataset]
            record = make_record(job, data, result)
            finished[name] = records.put(name, cell_key(job, data, settings, identity), record)
            bar.advance(task)

        def failed(job: Job, error: BaseException) -> None:
            if error.__cause__ is not None:  # the traceback of the process
                console.print(str(error.__cause__), markup=False, highlight=False)
            fail(job.cell, f"{type(error).__name__}: {error}")

        jobs = []
        for cell in grid:
            try:
                job = make_job(cell, sets, human)
            except ValueError as error:  # these labels cannot have this noise
                fail(cell, str(error))
                continue
            key = cell_key(job, sets[cell.dataset], settings, identity)
            record = None if vars(options).get("fresh") else records.get(cell.name, key)
            if record is None:
                jobs.append(job)
            else:
                finished[cell.name] = record
                bar.advance(task)
        try:
            run_jobs(jobs, backbone, done, failed)
        finally:
            if len(finished) + len(document["failed"]) < len(grid):
                console.print(
                    f"Stopped with {len(finished)} of {len(grid)} cells finished. "
                    "The same command resumes."
                )
            ordered = [finished[cell.name] for cell in grid if cell.name in finished]
            document["datasets"] = {name: _about(data) for name, data in sets.items()}
            document["cells"] = [_reported(record) for record in ordered]


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


def cell_key(job: Job, data: EncodedSet, settings: Settings, identity: Mapping[str, Any]) -> str:
    """Return SHA-256 over everything that decides the record of `job`."""
    return key_of(
        {
            **identity,
            "cell": asdict(job.cell),
            "recipe": asdict(settings.recipe),
            "methods": settings.methods,
            "default": settings.tune_config(job.cell.seed).model_dump(),
            "logistic_c": settings.logistic_c,
            "class_words": data.class_words,
            "images": [data.hashes[at] for at in job.positions],
            "given": job.given.tolist(),
            "true": job.true.tolist(),
            "test": data.test_sha256,
        }
    )


def _about(data: EncodedSet) -> dict[str, Any]:
    return {"sha256": data.sha256, "classes": len(data.classes), "test_images": data.n_test}


def _reported(record: Record) -> Record:
    """Return the part of a record that is published, with a digest of its labels."""
    labels = json.dumps([record["files"], record["true"], record["given"]])
    found = {name: value for name, value in record.items() if name not in _NOT_REPORTED}
    return found | {"flip_map_sha256": hashlib.sha256(labels.encode()).hexdigest()}
