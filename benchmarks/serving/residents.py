"""Many models in memory: the memory of each, and the effect on speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.load.summary import percentile
from benchmarks.serving.bench import MANY_CLIENTS, Bench, row
from benchmarks.serving.classifiers import Shape
from benchmarks.serving.orders import Order

#: Loaded one after the other, to measure the loading time.
_COLD = 50


def measure_residents(
    bench: Bench,
    shape: Shape,
    counts: Sequence[int],
    classes: Sequence[str],
    rounds: int,
    found: dict[str, Any],
) -> None:
    """Measure images per second with these numbers of models, in turns; fill in `found`."""
    most = max(counts)
    bench.on_progress(f"writing {most:,} models")
    models = bench.write(shape, [classes] * most)
    found["cold_load_ms"] = _cold_load(bench, models[:_COLD])
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


def _cold_load(bench: Bench, models: Sequence[str]) -> float:
    """Return how many milliseconds longer a first request takes than a second (medians)."""
    bench.on_progress("loading models")
    first, second = (
        bench.ask(Order(clients=1, images=1, models=models, tiny=True)).latencies for _ in range(2)
    )
    return 1000 * (percentile(first, 50) - percentile(second, 50))


def _load_all(bench: Bench, models: Sequence[str], counts: Sequence[int]) -> list[dict[str, Any]]:
    """Return the memory of the API with each number of models loaded."""
    memory, loaded = [], _COLD
    for count in sorted(counts):
        bench.on_progress(f"loading {count:,} models")
        batch = models[min(loaded, count) : count] or models[:1]
        outcome = bench.ask(Order(MANY_CLIENTS, 1, batch, tiny=True))
        loaded = max(loaded, count)
        memory.append({"models": loaded, "mib": row(outcome)["api_mib"]})
    return memory
