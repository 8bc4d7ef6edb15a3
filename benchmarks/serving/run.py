"""One measurement: the stack is started, its clients ask, and all is stopped."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from app.kit.settings import Settings
from benchmarks.serving.bench import Bench, Tell
from benchmarks.serving.child import Child
from benchmarks.serving.classifiers import Shape, shape_of
from benchmarks.serving.clients import make_clients
from benchmarks.serving.disturbed import measure_beside_job, measure_pressure, measure_switch
from benchmarks.serving.photos import make_photos, tiny_png
from benchmarks.serving.residents import measure_residents
from benchmarks.serving.speed import measure_speed
from benchmarks.serving.tower import make_tower
from benchmarks.serving.weights import is_random, write_random
from benchmarks.stack import HOST, running_stack
from scripts.demo.data import PHOTOGRAPHS

_PHOTOS = 64
#: It is not the limits that are measured, except where they are.
_MAX_WAITING_IMAGES = 4096
_REQUESTS_PER_MINUTE = 10_000_000


def measure(options: argparse.Namespace, tell: Tell, document: dict[str, Any]) -> None:
    """Fill the document, part by part. Raises StackError, ChildError, UnknownBackbone, OSError."""
    tell("cutting photos")
    photos = make_photos(options.data, _PHOTOS, options.seed)
    document |= {
        "load_before": os.getloadavg()[0],
        "photos": {"count": len(photos), "mean_bytes": sum(map(len, photos)) / len(photos)},
        "backbones": {},
    }
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="dspt-serving-")))
        names = {name: _named(name, folder, tell) for name in options.backbone}
        tell("starting PostgreSQL, Redis, API and worker")
        stack = cleanup.enter_context(
            running_stack(
                folder,
                workers=1,
                threads=options.threads,
                settings=_settings(options, list(names.values())),
                logs=options.logs,
            )
        )
        document["servers"] = stack.versions
        place = (HOST, stack.port)
        clients = cleanup.enter_context(
            Child(make_clients, place, stack.key, photos, tiny_png(), options.seed)
        )
        bench = Bench(stack, clients, folder, options.seconds, options.seed, tell)
        classes = [photograph.folder for photograph in PHOTOGRAPHS]
        towers = Settings(data_dir=folder / "data").tower_dir
        shapes: dict[str, Shape] = {}
        models: dict[str, str] = {}
        for name, loaded in names.items():
            tell(f"{name}: loading")
            shapes[name] = shape_of(loaded)
            found = document["backbones"][name] = {"classes": len(classes)}
            with Child(make_tower, loaded, towers, photos, options.threads) as tower:
                (models[name],) = bench.write(shapes[name], [classes])
                bench.tell = partial(_tell_of, tell, name)
                measure_speed(bench, tower, models[name], loaded, options.rounds, found)
            bench.tell = tell
        first = options.backbone[0]
        shape, model, loaded = shapes[first], models[first], names[first]
        measure_switch(bench, shape, classes, document.setdefault("switch", {}))
        measure_beside_job(bench, model, document.setdefault("beside_a_job", {}))
        measure_residents(
            bench,
            shape,
            options.models,
            classes,
            options.rounds,
            document.setdefault("residents", {}),
        )
        measure_pressure(bench, model, loaded, options.threads, document.setdefault("pressure", {}))


def _named(name: str, folder: Path, tell: Tell) -> str:
    """What the service knows a backbone by. Raises UnknownBackbone."""
    if not is_random(name):
        return name
    tell(f"{name}: drawing weights")
    return write_random(name, folder / "weights")


def _tell_of(tell: Tell, backbone: str, what: str) -> None:
    tell(f"{backbone}: {what}")


def _settings(options: argparse.Namespace, backbones: list[str]) -> dict[str, str]:
    return {
        "DSPT_REQUESTS_PER_MINUTE": str(_REQUESTS_PER_MINUTE),
        "DSPT_LOCAL_BACKBONES": json.dumps(backbones),
        "DSPT_PREDICT_TOWER_THREADS": str(options.threads),
        "DSPT_PREDICT_MAX_WAITING_IMAGES": str(_MAX_WAITING_IMAGES),
        "DSPT_PREDICT_CACHED_CLASSIFIERS": str(2 * max(options.models)),
    }
