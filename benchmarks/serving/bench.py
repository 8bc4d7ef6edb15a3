"""What all measurements use: the running stack and its clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.load.summary import percentiles
from benchmarks.serving.classifiers import write_classifiers
from benchmarks.serving.clients import Order, Outcome
from benchmarks.skeleton.child import Child
from benchmarks.stack import MeasuredStack, StackError, wait
from dspt.backbones import Backbone

OnProgress = Callable[[str], None]
"""Called with the current step."""

_READY = (
    *("image tower compiled", "image tower loaded"),
    "OpenVINO cannot run this backbone; using torch",
)
_MIB = 1 << 20
MANY_CLIENTS = 64
#: High limits, so that they do not interfere.
_MAX_WAITING_IMAGES = 4096
_REQUESTS_PER_MINUTE = 10_000_000


@dataclass
class Bench:
    """One stack with its clients."""

    stack: MeasuredStack
    clients: Child
    seconds: float
    """Of each measurement."""
    seed: int
    on_progress: OnProgress

    def ask(self, order: Order) -> Outcome:
        """Carry out the order, and record what the stack uses meanwhile."""
        outcome: Outcome = self.clients.call("carry_out", replace(order, watched=self.stack.roots))
        return outcome

    def many(self, models: Sequence[str], clients: int = MANY_CLIENTS, **more: Any) -> Outcome:
        """Measure clients with one image per request, after a warm-up."""
        return self.ask(Order(clients, 1, models, self.seconds, self.seconds / 5, **more))

    def write(self, backbone: Backbone, classes: Sequence[Sequence[str]]) -> list[str]:
        """Write new classifiers; return their ids."""
        return write_classifiers(self.stack, backbone, classes, self.seed)

    def load(self, model_id: str, backbone: str) -> None:
        """Load the model; return when its image tower is compiled. Raises StackError."""
        before = self._settled(backbone)
        outcome = self.ask(Order(clients=1, images=1, models=[model_id], tiny=True))
        if failed(outcome):
            raise StackError(f"POST /predict of {backbone}: {outcome.statuses}")
        wait(lambda: self._settled(backbone) > before, "a compiled image tower")

    def _settled(self, backbone: str) -> int:
        """Return how often the API has compiled the tower or loaded a compiled one, or cannot."""
        count = 0
        for line in self.stack.api.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):  # a line that is being written
                entry = json.loads(line)
                count += entry.get("event") in _READY and entry.get("backbone") == backbone
        return count


def row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome for JSON."""
    found: dict[str, Any] = {
        "images_per_second": outcome.images_per_second,
        "requests": sum(outcome.statuses.values()),
        "statuses": outcome.statuses,
        "failed": failed(outcome),
        "cpu_ms": cpu_ms(outcome),
    }
    if outcome.latencies:
        found |= percentiles(outcome.latencies)
    if "API" in outcome.after:
        found["api_mib"] = outcome.after["API"].memory / _MIB
    return found


def failed(outcome: Outcome) -> int:
    """Return the number of requests without a prediction for each image."""
    return outcome.wrong + sum(n for status, n in outcome.statuses.items() if status != "200")


def cpu_ms(outcome: Outcome) -> dict[str, float]:
    """Return the CPU time per image in milliseconds, of each part and of the clients.

    `API, event loop` is the part of the API's main thread.
    """
    images = outcome.images_per_second * outcome.seconds
    if not images:
        return {}
    spent = {
        name: after.cpu_seconds - outcome.before[name].cpu_seconds
        for name, after in outcome.after.items()
    }
    if "API" in outcome.after:
        before, after = outcome.before["API"], outcome.after["API"]
        spent["API, event loop"] = after.main_thread_seconds - before.main_thread_seconds
    spent["clients"] = outcome.cpu_seconds
    return {name: 1000 * seconds / images for name, seconds in spent.items()}


def service_settings(backbones: Sequence[str], threads: int, models: int) -> dict[str, str]:
    """Return settings of the service for measurements with this number of models."""
    return {
        "DSPT_REQUESTS_PER_MINUTE": str(_REQUESTS_PER_MINUTE),
        "DSPT_LOCAL_BACKBONES": json.dumps(backbones),
        "DSPT_PREDICT_TOWER_THREADS": str(threads),
        "DSPT_PREDICT_MAX_WAITING_IMAGES": str(_MAX_WAITING_IMAGES),
        # All clients have one key.
        "DSPT_PREDICT_MAX_WAITING_IMAGES_PER_KEY": str(_MAX_WAITING_IMAGES),
        "DSPT_PREDICT_CACHED_CLASSIFIERS": str(2 * models),
    }
