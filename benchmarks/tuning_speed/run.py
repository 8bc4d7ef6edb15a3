"""Measures the two trainers in turns, and derives epoch and job from a step."""

from __future__ import annotations

import logging
import math
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console

from benchmarks.skeleton.child import Child
from benchmarks.skeleton.machine import torch_machine
from benchmarks.skeleton.program import Document, grid_progress
from benchmarks.tuning_speed import setup
from benchmarks.tuning_speed.ours import OurTrainer
from benchmarks.tuning_speed.plain import PlainTrainer
from benchmarks.tuning_speed.setup import BATCH, EPOCHS, SHOTS, Case, StepTime
from benchmarks.tuning_speed.stages import Stages
from dspt.kit.device import resolve_device, tuning_dtype

SLICE = 100
"""Classes that the plain trainer is measured with if all do not fit into memory."""


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

    @property
    def job(self) -> float:
        """Return the seconds of EPOCHS epochs and of encoding each photo."""
        return EPOCHS * self.epoch + self.classes * SHOTS * self.encode

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Timing:
        return cls(**{name: document[name] for name in document if name != "derived"})

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"derived": {"epoch": self.epoch, "job": self.job}}


def measure(options: Namespace, document: Document, console: Console) -> None:
    if options.quick:
        options.classes, options.steps, options.stages = [10], 2, []
    options.stages = sorted(set(options.stages))
    device = resolve_device(options.device)
    both = tuning_dtype("auto", device) is not None
    precisions = ("float32", "bfloat16") if both else ("float32",)
    cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if cuda else psutil.virtual_memory().available
    document["machine"] |= torch_machine(device.type)
    document["settings"] = {
        "n_ctx": setup.N_CTX,
        "seed": options.seed,
        "lr": setup.LR,
        "device": device.type,
        "batch": BATCH,
        "shots": SHOTS,
        "epochs": EPOCHS,
        "photos": setup.PHOTOS,
    }
    timings = document["timings"] = {}
    document["stages"] = []
    with (
        tempfile.TemporaryDirectory(prefix="dspt-tuning-speed-") as folder,
        grid_progress(console) as bar,
    ):
        setup.write_photos(Path(folder), options.seed)
        common = Case("", 0, "", 1, Path(folder), device.type, options.seed)
        cases = [(name, classes) for name in options.backbones for classes in options.classes]
        task = bar.add_task("", total=len(cases) + len(options.stages))
        for backbone, classes in cases:

            def on_progress(what: str, case: str = f"{backbone}, {classes} classes") -> None:
                bar.update(task, description=f"{case}: {what}")

            steps = options.steps or steps_for(classes)
            case = replace(common, backbone=backbone, classes=classes, steps=steps)
            found = measure_case(case, precisions, free // 2, on_progress)
            timings.setdefault(backbone, []).extend(timing.document() for timing in found)
            bar.advance(task)
        for classes in options.stages:
            bar.update(task, description=f"a whole job, {classes} classes")
            case = replace(common, backbone="builtin", classes=classes, precision=precisions[-1])
            with worker(Stages, case) as process:
                document["stages"] += process.call("measure")
            bar.advance(task)


def worker(make: Callable[[Case], Any], case: Case) -> Child:
    """Return a process with one trainer."""
    name = f"{make.__name__}, {case.backbone}, {case.classes} classes, {case.precision}"
    return Child(name, _quiet, make, case)


def _quiet(make: Callable[[Case], Any], case: Case) -> Any:
    logging.disable(logging.WARNING)  # open_clip's, that the weights are random
    return make(case)


def steps_for(classes: int) -> int:
    """Return how many steps to measure by default."""
    return 5 if classes <= 20 else 3 if classes <= 200 else 1


def measure_case(
    case: Case, precisions: tuple[str, ...], memory: int, progress: Callable[[str], None]
) -> list[Timing]:
    """Measure both trainers in every precision. memory: bytes that a trainer may use.

    Runs `case.steps` rounds; in each the plain trainer runs one step and ours runs all.
    """
    classes, steps = case.classes, case.steps
    plain_classes = classes if _plain_bytes(classes) < memory else min(classes, SLICE)
    with ExitStack() as stack:
        plain, ours = {}, {}
        for precision in precisions:
            own = replace(case, precision=precision)
            few = replace(own, classes=plain_classes)
            plain[precision] = stack.enter_context(worker(PlainTrainer, few))
            ours[precision] = stack.enter_context(worker(OurTrainer, own))
        everyone = [*plain.values(), *ours.values()]
        progress("starting")
        for each in everyone:
            each.ready()
        start = next(iter(plain.values())).call("context")
        progress("warming up")
        for each in ours.values():
            each.call("steps", steps)
        if plain_classes < SLICE:
            for each in plain.values():
                each.call("steps", 1)
                each.call("restart")
        taken: dict[Child, list[StepTime]] = {each: [] for each in everyone}
        for number in range(steps):
            for precision in precisions:
                progress(f"{precision}, round {number + 1} of {steps}")
                for each, count in ((plain[precision], 1), (ours[precision], steps)):
                    taken[each] += each.call("steps", count)
        reference = plain["float32"].call("context") if plain_classes == classes else None
        found = [
            _timing(name, precision, each, taken[each], classes, measured, reference)
            for name, workers, measured in (
                ("plain", plain, plain_classes),
                ("ours", ours, classes),
            )
            for precision, each in workers.items()
        ]
        moved = None if reference is None else float(np.abs(reference - start).max())
        return [replace(timing, context_moved=moved) for timing in found]


def _timing(
    trainer: str,
    precision: str,
    process: Child,
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
        difference = float(np.abs(process.call("context") - reference).max())
    return Timing(
        trainer=trainer,
        precision=precision,
        classes=classes,
        text_step=text * scale,
        step=text * scale + rest,
        text_step_cpu=text_cpu * scale,
        step_cpu=text_cpu * scale + rest_cpu,
        step_scaled_from=None if measured == classes else measured,
        encode=process.call("encode_seconds") if trainer == "ours" else 0.0,
        memory_beyond_model=round(process.call("memory") * scale),
        context_difference=difference,
        context_moved=None,
    )


def _plain_bytes(classes: int) -> int:
    """Estimate what autograd saves of the plain text tower in float32: 12 layers, width 512.

    17 numbers of that width per token and layer (norms, queries, keys, values, attention, MLP
    before and after its activation), and 2 GiB for libraries and the backward pass.
    """
    return classes * 77 * 12 * 512 * 17 * 4 + (2 << 30)
