"""A trainer in its own process, so that its memory can be measured."""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.skeleton.child import Child
from benchmarks.tuning_speed.setup import Case

Kind = Literal["plain", "ours", "growth", "stages"]


def worker(kind: Kind, case: Case) -> Child:
    """Return a process with one trainer."""
    name = f"{kind} trainer, {case.backbone}, {case.classes} classes, {case.precision}"
    return Child(name, Trainer, kind, case)


class Trainer:
    """A trainer, and the memory that it takes beyond its model."""

    def __init__(self, kind: Kind, case: Case) -> None:
        logging.disable(logging.WARNING)  # open_clip's, that the weights are random
        self._trainer, self._device = _make(kind, case), case.device
        self._model = _resident(case.device)

    def do(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of the trainer."""
        return getattr(self._trainer, method)(*arguments)

    def memory(self) -> int:
        """Return the peak of the memory in bytes, less model, features and libraries."""
        return max(0, _peak(self._device) - self._model)


def _make(kind: Kind, case: Case) -> Any:
    from benchmarks.tuning_speed import growth, ours, plain, stages

    makers = {"plain": plain.PlainTrainer, "ours": ours.OurTrainer, "growth": growth.Growth}
    return (makers | {"stages": stages.Stages})[kind](case)


def _resident(device: str) -> int:
    """Return the bytes in use now, or the peak if the system does not report it."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _peak(device)
    return pages * resource.getpagesize()


def _peak(device: str) -> int:
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
