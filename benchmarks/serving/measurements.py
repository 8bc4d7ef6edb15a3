"""What is measured on the running stack: its speed compared with the tower alone, many models in
memory, and disturbances (a job is tuned, too many clients)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from dspt_client import Client, Job
from dspt_client.schemas.status import TERMINAL, Status

from app.datasets.demo_photos import make_demo_data
from benchmarks.serving.bench import MANY_CLIENTS, Bench, row
from benchmarks.serving.clients import Order
from benchmarks.skeleton.child import Child
from benchmarks.stack import StackError, wait
from dspt.backbones import Backbone

BATCHES = (1, 2, 4, 8, 16, 32, 64)
_CLIENTS, _IMAGES = (1, 8, MANY_CLIENTS), (1, 16)
_PART = 0.3
"""Duration of each measurement of the tower, as a share of `seconds`."""
#: Together they take longer than the measurement; the rest of them is cancelled.
_JOBS, _EPOCHS = 2, 1000
TOO_MANY_CLIENTS = 256
FEW_WAITING = 64


def measure_speed(
    bench: Bench, tower: Child, model_id: str, backbone: str, rounds: int, found: dict[str, Any]
) -> None:
    """Measure the tower alone, the service, and both in turns; fill in `found`."""
    found["raw"] = raw = _raw(bench, tower)
    rate = raw["best"]["images_per_second"]
    bench.on_progress("loading")
    bench.load(model_id, backbone)
    found["service"], found["left_out"] = [], []
    for images in _IMAGES:
        for clients in _CLIENTS:
            if clients * images / rate > bench.seconds:
                found["left_out"].append({"clients": clients, "images": images})
                continue
            order = _order(bench, clients, images, [model_id], rate)
            bench.on_progress(f"{clients} clients, {images} images per request")
            found["service"].append({"clients": clients, "images": images, **row(bench.ask(order))})
    found["pairs"] = pairs = list[dict[str, Any]]()
    best, order = raw["best"]["batch"], _order(bench, MANY_CLIENTS, 1, [model_id], rate)
    before = tower.call("speed", "tower", best, bench.seconds / 2)
    for number in range(rounds):
        bench.on_progress(f"tower and {MANY_CLIENTS} clients in turns, {number + 1} of {rounds}")
        outcome = bench.ask(order)
        after = tower.call("speed", "tower", best, bench.seconds / 2)
        alone = statistics.fmean(each["images_per_second"] for each in (before, after))
        pairs.append(row(outcome) | {"raw": alone, "ratio": outcome.images_per_second / alone})
        before = after


def _raw(bench: Bench, tower: Child) -> dict[str, Any]:
    speeds = []
    for batch in BATCHES:
        bench.on_progress(f"the tower alone, batches of {batch}")
        speed = tower.call("speed", "tower", batch, _PART * bench.seconds)
        speeds.append({"batch": batch, **speed})
    best = max(speeds, key=lambda speed: speed["images_per_second"])
    bench.on_progress("JPEGs to crops, and to features, in one process")
    more = {
        what: tower.call("speed", what, best["batch"], _PART * bench.seconds)
        for what in ("decode", "both")
    }
    return {"batches": speeds, "best": best, **more}


def _order(bench: Bench, clients: int, images: int, models: Sequence[str], rate: float) -> Order:
    """Return an order whose warm-up gives each client two answers, if that is short enough."""
    warm_up = max(bench.seconds / 5, min(2 * clients * images / rate, bench.seconds))
    return Order(clients, images, models, bench.seconds, warm_up)


def measure_residents(
    bench: Bench,
    backbone: Backbone,
    counts: Sequence[int],
    classes: Sequence[str],
    rounds: int,
    found: dict[str, Any],
) -> None:
    """Measure images per second with these numbers of models, in turns; fill in `found`."""
    most = max(counts)
    bench.on_progress(f"writing {most:,} models")
    models = bench.write(backbone, [classes] * most)
    found["memory"] = _load_all(bench, models, counts)
    found["classes"], found["rounds"] = len(classes), list[dict[str, Any]]()
    for number in range(rounds):
        turn = number % len(counts)
        speeds: dict[str, Any] = {}
        for count in (*counts[turn:], *counts[:turn]):
            bench.on_progress(f"{count:,} models, round {number + 1} of {rounds}")
            order = Order(MANY_CLIENTS, 1, models[:count], 0.6 * bench.seconds, 0.2 * bench.seconds)
            speeds[str(count)] = row(bench.ask(order))
        found["rounds"].append(speeds)


def _load_all(bench: Bench, models: Sequence[str], counts: Sequence[int]) -> list[dict[str, Any]]:
    """Return the memory of the API with each number of models loaded."""
    memory, loaded = [], 0
    for count in sorted(counts):
        bench.on_progress(f"loading {count:,} models")
        outcome = bench.ask(Order(MANY_CLIENTS, 1, models[loaded:count], tiny=True))
        loaded = count
        memory.append({"models": count, "mib": row(outcome)["api_mib"]})
    return memory


def measure_beside_job(bench: Bench, model_id: str, found: dict[str, Any]) -> None:
    """Measure before a job, while it is tuned, and after it."""
    bench.on_progress("before a job")
    found["before"] = row(bench.many([model_id]))
    photos = bench.stack.folder / "photos.zip"
    photos.write_bytes(make_demo_data(bench.seed).zip)
    with Client(bench.stack.url, bench.stack.key) as client:
        jobs = [
            client.jobs.create(photos, config={"epochs": _EPOCHS, "seed": bench.seed + number})
            for number in range(_JOBS)
        ]
        bench.on_progress("waiting for a job to be tuned")
        wait(lambda: _is_tuned(jobs[0]), "a job that is tuned")
        bench.on_progress("while a job is tuned")
        found["beside"] = row(bench.many([model_id]))
        for job in jobs:
            job.refresh()
            if job.status not in TERMINAL:
                client.jobs.cancel(job.id)
        found["jobs"] = [job.status for job in jobs]
        wait(lambda: all(map(_has_ended, jobs)), "the end of the jobs")
    bench.on_progress("after the job")
    found["after"] = row(bench.many([model_id]))


def measure_pressure(bench: Bench, model_id: str, backbone: str, found: dict[str, Any]) -> None:
    """Measure far more clients than may wait; they retry after the time in Retry-After.

    The API keeps its small queue afterwards.
    """
    bench.on_progress("an API with a small queue")
    bench.stack.start_api(DSPT_PREDICT_MAX_WAITING_IMAGES=str(FEW_WAITING))
    bench.load(model_id, backbone)
    for clients in (MANY_CLIENTS, TOO_MANY_CLIENTS):
        bench.on_progress(f"{clients} clients, of whom {FEW_WAITING} may wait")
        outcome = bench.many([model_id], clients)
        refused = outcome.statuses.get("503", 0)
        found[str(clients)] = row(outcome) | {"refused": refused, "told_when": outcome.told_when}


def _is_tuned(job: Job) -> bool:
    if _has_ended(job):
        raise StackError(f"The job {job.status}: {job.view.error}")
    return bool(job.status == Status.RUNNING and job.view.progress and job.view.progress.epoch)


def _has_ended(job: Job) -> bool:
    job.refresh()
    return job.status in TERMINAL
