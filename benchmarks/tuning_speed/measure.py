"""The two trainers by turns, and what follows from a step for an epoch and a job."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.tuning_speed.growth import GrowthRow
from benchmarks.tuning_speed.setup import BATCH, EPOCHS, SHOTS, Case, StepTime
from benchmarks.tuning_speed.worker import Worker

SLICE = 100
"""Classes of which the plain trainer is measured where all of them do not fit."""
VIEWS = 4
"""Augmented views of which a job is told the cost of too."""


@dataclass(frozen=True)
class Timing:
    """One trainer in one arithmetic. Seconds are medians over the steps."""

    trainer: str
    precision: str
    classes: int
    text_step: float
    step: float
    """The whole: with decoding and image tower where they are part of it."""
    text_step_cpu: float
    step_cpu: float
    """Of all CPUs: what other programs do not lengthen."""
    step_scaled_from: int | None
    """Number of classes measured; text step and memory are scaled from it. None: as it stands."""
    encode: float
    """Once per job and photo; 0 for the plain trainer."""
    memory_beyond_model: int
    """Bytes."""
    context_difference: float | None
    """Largest, of the context after the steps from the plain trainer's in float32."""
    context_moved: float | None
    """Largest distance of the plain trainer's context from its start."""

    @property
    def epoch(self) -> float:
        """Of SHOTS photos per class; derived from the step."""
        return math.ceil(self.classes * SHOTS / BATCH) * self.step

    def job(self, views: int = 0) -> float:
        """EPOCHS epochs and the encoding of each photo and its augmented views; derived."""
        return EPOCHS * self.epoch + self.classes * SHOTS * (1 + views) * self.encode

    def document(self) -> dict[str, Any]:
        """All of it for JSON."""
        derived = {"epoch": self.epoch, "job": self.job(), f"job_{VIEWS}_views": self.job(VIEWS)}
        return asdict(self) | {"derived": derived}


@dataclass(frozen=True)
class Settings:
    """What is the same for all cases."""

    device: str
    photos: Path
    n_ctx: int
    seed: int
    lr: float
    memory: int
    """Bytes that a trainer may take."""
    precisions: tuple[str, ...]


def measure_case(
    settings: Settings,
    backbone: str,
    classes: int,
    steps: int,
    progress: Callable[[str], None],
) -> list[Timing]:
    """Both trainers, every arithmetic, `steps` rounds of a plain step and `steps` of ours."""
    plain_classes = classes if _plain_bytes(classes) < settings.memory else min(classes, SLICE)

    def case(count: int, precision: str) -> Case:
        return Case(
            backbone,
            count,
            precision,
            settings.device,
            steps,
            settings.photos,
            settings.n_ctx,
            settings.seed,
            settings.lr,
        )

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
        return [Timing(**(asdict(t) | {"context_moved": moved})) for t in found]


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
    """Rows of `growth.Growth.measure`, in every arithmetic."""
    rows: list[GrowthRow] = []
    for precision in settings.precisions:
        case = Case(
            backbone,
            counts[0],
            precision,
            settings.device,
            1,
            settings.photos,
            settings.n_ctx,
            settings.seed,
        )
        with Worker("growth", case) as worker:
            rows += worker.call("measure", counts, rounds)
    return rows


def _plain_bytes(classes: int) -> int:
    """What autograd keeps of the plain text tower in float32, about: 12 layers, width 512.

    17 numbers of the width for every token and layer (norms, queries, keys, values, attention, MLP
    before and behind its activation), and as much again for libraries and the backward pass.
    """
    return classes * 77 * 12 * 512 * 17 * 4 + (2 << 30)
