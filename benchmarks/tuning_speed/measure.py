"""Measures the two trainers in turns, and derives epoch and job from a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.tuning_speed.growth import GrowthRow
from benchmarks.tuning_speed.setup import BATCH, EPOCHS, SHOTS, Case, StepTime
from benchmarks.tuning_speed.worker import Worker

SLICE = 100
"""Classes that the plain trainer is measured with if all do not fit into memory."""
VIEWS = 4
"""Augmented views of a second kind of job."""


@dataclass(frozen=True)
class Timing:
    """One trainer in one precision. Seconds are medians over the steps."""

    trainer: str
    precision: str
    classes: int
    text_step: float
    step: float
    """Whole step, with decoding and image tower if they are part of it."""
    text_step_cpu: float
    step_cpu: float
    """Of all CPUs, which other programs do not lengthen."""
    step_scaled_from: int | None
    """Number of classes that text step and memory are scaled from; None if they are measured."""
    encode: float
    """Seconds per photo, once per job; 0 for the plain trainer."""
    memory_beyond_model: int
    """Bytes."""
    context_difference: float | None
    """Largest difference to the context of the plain trainer in float32 after the steps."""
    context_moved: float | None
    """Largest distance of the plain trainer's context from its start."""

    @property
    def epoch(self) -> float:
        """Return the seconds of an epoch with SHOTS photos per class."""
        return math.ceil(self.classes * SHOTS / BATCH) * self.step

    def job(self, views: int = 0) -> float:
        """Return the seconds of EPOCHS epochs and of encoding each photo and its views."""
        return EPOCHS * self.epoch + self.classes * SHOTS * (1 + views) * self.encode

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Timing:
        """Return the timing in a `document`."""
        return cls(**{field.name: document[field.name] for field in fields(cls)})

    def document(self) -> dict[str, Any]:
        """Return the timing for JSON."""
        derived = {"epoch": self.epoch, "job": self.job(), f"job_{VIEWS}_views": self.job(VIEWS)}
        return asdict(self) | {"derived": derived}


@dataclass(frozen=True)
class Settings:
    """Settings of all cases."""

    device: str
    photos: Path
    n_ctx: int
    seed: int
    lr: float
    memory: int
    """Bytes that a trainer may use."""
    precisions: tuple[str, ...]

    def case(self, backbone: str, classes: int, precision: str, steps: int) -> Case:
        """Return what one process measures."""
        return Case(
            backbone,
            classes,
            precision,
            self.device,
            steps,
            self.photos,
            self.n_ctx,
            self.seed,
            self.lr,
        )


def measure_case(
    settings: Settings,
    backbone: str,
    classes: int,
    steps: int,
    progress: Callable[[str], None],
) -> list[Timing]:
    """Measure both trainers in every precision.

    Runs `steps` rounds; in each the plain trainer runs one step and ours runs `steps`.
    """
    plain_classes = classes if _plain_bytes(classes) < settings.memory else min(classes, SLICE)

    def case(count: int, precision: str) -> Case:
        return settings.case(backbone, count, precision, steps)

    with ExitStack() as stack:
        plain, ours = {}, {}
        for precision in settings.precisions:
            plain[precision] = stack.enter_context(Worker("plain", case(plain_classes, precision)))
            ours[precision] = stack.enter_context(Worker("ours", case(classes, precision)))
        everyone = [*plain.values(), *ours.values()]
        progress("starting")
        for worker in everyone:
            worker.ready()
        start = next(iter(plain.values())).call("context")
        progress("warming up")
        for worker in ours.values():
            worker.call("steps", steps)
        if plain_classes < SLICE:
            for worker in plain.values():
                worker.call("steps", 1)
                worker.call("restart")
        taken: dict[Worker, list[StepTime]] = {worker: [] for worker in everyone}
        for number in range(steps):
            for precision in settings.precisions:
                progress(f"{precision}, round {number + 1} of {steps}")
                taken[plain[precision]] += plain[precision].call("steps", 1)
                taken[ours[precision]] += ours[precision].call("steps", steps)
        reference = plain["float32"].call("context") if plain_classes == classes else None
        found = []
        for name, workers, measured in (("plain", plain, plain_classes), ("ours", ours, classes)):
            for precision, worker in workers.items():
                found.append(
                    _timing(name, precision, worker, taken[worker], classes, measured, reference)
                )
        moved = None if reference is None else float(np.abs(reference - start).max())
        return [replace(timing, context_moved=moved) for timing in found]


def _timing(
    trainer: str,
    precision: str,
    worker: Worker,
    taken: list[StepTime],
    classes: int,
    measured: int,
    reference: Any,
) -> Timing:
    scale = classes / measured
    text, text_cpu = median(t.text for t in taken), median(t.text_cpu for t in taken)
    rest = median(t.whole - t.text for t in taken)
    rest_cpu = median(t.whole_cpu - t.text_cpu for t in taken)
    difference = None
    if reference is not None:
        difference = float(np.abs(worker.call("context") - reference).max())
    return Timing(
        trainer=trainer,
        precision=precision,
        classes=classes,
        text_step=text * scale,
        step=text * scale + rest,
        text_step_cpu=text_cpu * scale,
        step_cpu=text_cpu * scale + rest_cpu,
        step_scaled_from=None if measured == classes else measured,
        encode=worker.call("encode_seconds") if trainer == "ours" else 0.0,
        memory_beyond_model=round(worker.memory().beyond * scale),
        context_difference=difference,
        context_moved=None,
    )


def measure_growth(
    settings: Settings, backbone: str, counts: list[int], rounds: int
) -> list[GrowthRow]:
    """Return the rows of `growth.Growth.measure` in every precision."""
    rows: list[GrowthRow] = []
    for precision in settings.precisions:
        with Worker("growth", settings.case(backbone, counts[0], precision, 1)) as worker:
            rows += worker.call("measure", counts, rounds)
    return rows


def _plain_bytes(classes: int) -> int:
    """Estimate what autograd saves of the plain text tower in float32: 12 layers, width 512.

    17 numbers of that width per token and layer (norms, queries, keys, values, attention, MLP
    before and after its activation), and 2 GiB for libraries and the backward pass.
    """
    return classes * 77 * 12 * 512 * 17 * 4 + (2 << 30)
