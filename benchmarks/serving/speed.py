"""The speed of the service compared with its image tower alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.serving.bench import MANY_CLIENTS, Bench, row
from benchmarks.serving.orders import Order
from benchmarks.skeleton.child import Child

BATCHES = (1, 2, 4, 8, 16, 32, 64)
_CLIENTS, _IMAGES = (1, 8, MANY_CLIENTS), (1, 16)
_PART = 0.3
"""Duration of each measurement of the tower, as a share of `seconds`."""


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
