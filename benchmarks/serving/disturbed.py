"""The service under disturbance: an alias moves, a job is tuned, too many clients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from app.datasets.demo_photos import make_demo_data
from benchmarks.serving.bench import MANY_CLIENTS, Bench, row, wait
from benchmarks.serving.classifiers import Shape
from benchmarks.serving.orders import Order, Switch
from benchmarks.stack import StackError

_ALIAS = "production"
_MOVES_PER_SECOND = 5.0
#: Together they take longer than the measurement; the rest of them is cancelled.
_JOBS, _EPOCHS = 2, 1000
TOO_MANY_CLIENTS = 256
FEW_WAITING = 64
_ENDED = ("succeeded", "failed", "cancelled")


def measure_switch(
    bench: Bench, shape: Shape, classes: Sequence[str], found: dict[str, Any]
) -> None:
    """Measure clients of an alias that moves back and forth between two models."""
    labels = ("old", "new")
    models = bench.write(shape, [[f"{label} {name}" for name in classes] for label in labels])
    for model in models:
        bench.call("PATCH", f"/models/{model}", json={"alias": _ALIAS})
        bench.ask(Order(clients=1, images=1, models=[model], tiny=True))
    switch = Switch(_ALIAS, dict(zip(models, labels, strict=True)), 1 / _MOVES_PER_SECOND)
    bench.on_progress(f"an alias that moves {_MOVES_PER_SECOND:g} times a second")
    outcome = bench.many([_ALIAS], switch=switch)
    counts = ("moves", "failed_moves", "mixed", "stale")
    found |= row(outcome) | {name: getattr(outcome, name) for name in counts}


def measure_beside_job(bench: Bench, model_id: str, found: dict[str, Any]) -> None:
    """Measure before a job, while it is tuned, and after it."""
    bench.on_progress("before a job")
    found["before"] = row(bench.many([model_id]))
    files = {"dataset": ("photos.zip", make_demo_data(bench.seed).zip)}
    jobs = []
    for number in range(_JOBS):
        form = {"config": json.dumps({"epochs": _EPOCHS, "seed": bench.seed + number})}
        jobs.append(bench.call("POST", "/jobs", data=form, files=files)["id"])
    bench.on_progress("waiting for a job to be tuned")
    wait(lambda: _is_tuned(bench, jobs[0]), "a job that is tuned")
    bench.on_progress("while a job is tuned")
    found["beside"] = row(bench.many([model_id]))
    found["jobs"] = statuses = [_job(bench, job)["status"] for job in jobs]
    for job, status in zip(jobs, statuses, strict=True):
        if status not in _ENDED:
            bench.call("POST", f"/jobs/{job}/cancel")
    wait(lambda: all(_job(bench, job)["status"] in _ENDED for job in jobs), "the end of the jobs")
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


def _is_tuned(bench: Bench, job_id: str) -> bool:
    job = _job(bench, job_id)
    if job["status"] in _ENDED:
        raise StackError(f"The job {job['status']}: {job['error']}")
    return bool(job["status"] == "running" and job["progress"]["epoch"])


def _job(bench: Bench, job_id: str) -> Any:
    return bench.call("GET", f"/jobs/{job_id}")
