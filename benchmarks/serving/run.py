"""Start the stack, run all measurements, stop the stack."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dspt_client import ClientError
from rich.console import Console

from app.datasets.demo_photos import PHOTOGRAPHS
from app.kit.settings import Settings
from benchmarks.random_weights import loadable
from benchmarks.serving.bench import Bench, OnProgress, service_settings
from benchmarks.serving.clients import Clients
from benchmarks.serving.measurements import (
    measure_beside_job,
    measure_pressure,
    measure_residents,
    measure_speed,
)
from benchmarks.serving.peers.run import measure_peers
from benchmarks.serving.photos import make_photos, tiny_png
from benchmarks.serving.tower import RawTower
from benchmarks.skeleton.child import Child
from benchmarks.skeleton.program import BenchmarkError, Document
from benchmarks.stack import HOST, running_stack
from dspt.backbones import Backbone, load_backbone

_PHOTOS = 64


def measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    """Fill in what is measured, also when it is interrupted."""
    document["settings"] = _settings(options)
    started = time.monotonic()

    def on_progress(what: str) -> None:  # lines, no bar: a drawing thread would be measured, too
        console.print(f"{time.monotonic() - started:4.0f} s  {what}", markup=False, highlight=False)

    try:
        on_progress("cutting photos")
        photos = make_photos(_PHOTOS, options.seed)
        mean_bytes = sum(map(len, photos)) / len(photos)
        document["photos"] = {"count": len(photos), "mean_bytes": mean_bytes}
        with tempfile.TemporaryDirectory(prefix="dspt-serving-") as folder:
            what = measure_peers if options.peers else _measure
            what(options, Path(folder), photos, on_progress, document)
    except (ValueError, ClientError) as error:
        raise BenchmarkError(str(error)) from error


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Set the defaults that depend on --quick and --peers; return the settings for the report."""
    quick, peers = options.quick, options.peers
    if quick:
        options.backbone = options.backbone[:1]
    options.models = sorted({1, *(options.models or ([1000] if quick else [100, 1000, 5000]))})
    options.seconds = options.seconds or (10.0 if peers else 3.0 if quick else 8.0)
    options.rounds = options.rounds or (2 if quick or peers else 4)
    names = ("seconds", "rounds", "threads", "seed", *(() if peers else ("backbone", "models")))
    return {name: getattr(options, name) for name in names}


def _measure(
    options: argparse.Namespace,
    folder: Path,
    photos: Sequence[bytes],
    on_progress: OnProgress,
    document: Document,
) -> None:
    document["backbones"] = {}
    with ExitStack() as cleanup:
        loaded = {name: loadable(name, folder / "weights") for name in options.backbone}
        on_progress("starting PostgreSQL, Redis, API and worker")
        settings = service_settings(list(loaded.values()), options.threads, max(options.models))
        threads, logs = options.threads, options.logs
        stack = cleanup.enter_context(
            running_stack(folder, workers=1, threads=threads, settings=settings, logs=logs)
        )
        document["versions"] |= stack.versions
        place, seed = (HOST, stack.port), options.seed
        clients = cleanup.enter_context(
            Child("clients", Clients, place, stack.key, photos, tiny_png(), seed)
        )
        bench = Bench(stack, clients, options.seconds, seed, on_progress)
        classes = [photograph.folder for photograph in PHOTOGRAPHS]
        towers = Settings(data_dir=folder / "data").tower_dir
        backbones: dict[str, Backbone] = {}
        models: dict[str, str] = {}
        for name, full_name in loaded.items():

            def with_name(what: str, name: str = name) -> None:
                on_progress(f"{name}: {what}")

            bench.on_progress = with_name
            bench.on_progress("loading")
            backbones[name] = load_backbone(full_name)
            found = document["backbones"][name] = {"classes": len(classes)}
            with Child(f"tower of {name}", RawTower, full_name, towers, photos, threads) as tower:
                (models[name],) = bench.write(backbones[name], [classes])
                measure_speed(bench, tower, models[name], full_name, options.rounds, found)
        bench.on_progress = on_progress
        first = options.backbone[0]
        backbone, model = backbones[first], models[first]
        measure_beside_job(bench, model, document.setdefault("beside_a_job", {}))
        found = document["residents"] = {}
        measure_residents(bench, backbone, options.models, classes, options.rounds, found)
        measure_pressure(bench, model, loaded[first], document.setdefault("pressure", {}))
