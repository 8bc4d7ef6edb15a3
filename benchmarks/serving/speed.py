"""The service beside its tower: clients of one backbone, one image and many in a request."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.serving.bench import Bench, row
from benchmarks.serving.child import Child
from benchmarks.serving.orders import Order
from benchmarks.serving.tower import Speed, TowerOrder

BATCHES = (1, 2, 4, 8, 16, 32, 64)
MANY_CLIENTS = 64
_CLIENTS, _IMAGES = (1, 8, MANY_CLIENTS), (1, 16)
_PART = 0.3
"""Of a phase: how long each batch size of the tower takes."""


def measure_speed(
    bench: Bench, tower: Child, model_id: str, backbone: str, rounds: int, found: dict[str, Any]
) -> None:
    """Fill `found`: the tower by itself, the service, and both by turns."""
    found["raw"] = raw = _raw(bench, tower)
    rate = raw["best"]["images_per_second"]
    bench.tell("loading")
    bench.load(model_id, backbone)
    found["service"], found["left_out"] = [], []
    for images in _IMAGES:
        for clients in _CLIENTS:
            if clients * images / rate > bench.seconds:
                found["left_out"].append({"clients": clients, "images": images})
                continue
            order = _order(bench, clients, images, [model_id], rate)
            bench.tell(f"{clients} clients, {images} images in a request")
            found["service"].append({"clients": clients, "images": images, **row(bench.ask(order))})
    found["pairs"] = pairs = list[dict[str, Any]]()
    best, order = raw["best"]["batch"], _order(bench, MANY_CLIENTS, 1, [model_id], rate)
    before = _ask(tower, "tower", best, bench.seconds / 2)
    for number in range(rounds):
        bench.tell(f"tower and {MANY_CLIENTS} clients by turns, {number + 1} of {rounds}")
        outcome = bench.ask(order)
        after = _ask(tower, "tower", best, bench.seconds / 2)
        alone = statistics.fmean((before.images_per_second, after.images_per_second))
        pairs.append(row(outcome) | {"raw": alone, "ratio": outcome.images_per_second / alone})
        before = after


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, median, most."""
    return {"least": min(values), "median": statistics.median(values), "most": max(values)}


def _raw(bench: Bench, tower: Child) -> dict[str, Any]:
    speeds = []
    for batch in BATCHES:
        bench.tell(f"the tower by itself, batches of {batch}")
        speeds.append(
            {"batch": batch, **asdict(_ask(tower, "tower", batch, _PART * bench.seconds))}
        )
    best = max(speeds, key=lambda speed: speed["images_per_second"])
    bench.tell("JPEGs to crops, and to features, in one process")
    more = {
        what: asdict(_ask(tower, what, best["batch"], _PART * bench.seconds))
        for what in ("decode", "both")
    }
    return {"batches": speeds, "best": best, **more}


def _ask(tower: Child, what: Any, batch: int, seconds: float) -> Speed:
    speed: Speed = tower.ask(TowerOrder(what, batch, seconds))
    return speed


def _order(bench: Bench, clients: int, images: int, models: Sequence[str], rate: float) -> Order:
    """Warm when each client has had its answer, twice."""
    warm_up = max(bench.seconds / 5, min(2 * clients * images / rate, bench.seconds))
    return Order(clients, images, models, bench.seconds, warm_up)
