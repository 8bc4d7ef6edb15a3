"""`dspt` on a host of its own, where jobs may take time on a simulated GPU (see cluster.py)."""

from __future__ import annotations

import ctypes
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dspt import pipeline
from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.data import Dataset
from dspt.errors import Cancelled
from dspt.kit.progress import Listener, StageClock

NAMESPACE, EPOCH_SECONDS, RESULT = "SCALE_NAMESPACE", "SCALE_EPOCH_SECONDS", "SCALE_RESULT"
"""Variables: the network namespace to join, seconds of each epoch, and a file with the result."""
IMAGE_SECONDS = "SCALE_IMAGE_SECONDS"
"""Variable: seconds that the image tower of predictions takes more for each image, without CPU."""
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class SimulatedGpu:
    """Every job takes the time of its epochs, without CPU, and has the same result.

    All else of a job is real: photos are read and checked, the model is stored.
    """

    result: pipeline.TuneResult
    epoch_seconds: float

    def tune(
        self,
        dataset: Dataset,
        config: TuneConfig,
        *,
        listener: Listener,
        should_stop: Callable[[], bool],
        **_: Any,
    ) -> pipeline.TuneResult:
        """Return the result, as `dspt.pipeline.tune`. Raises Cancelled."""
        clock, begun = StageClock(listener, config.epochs), time.monotonic()
        (metrics,) = self.result.metrics["history"]
        for epoch in range(1, config.epochs + 1):
            time.sleep(max(0.0, begun + epoch * self.epoch_seconds - time.monotonic()))
            if should_stop():
                raise Cancelled("the job has to stop")
            clock.at("tuning", epoch, config.epochs, epoch)
            listener.metrics(metrics | {"epoch": epoch})
        return self.result


def main() -> None:
    """Join the namespace, prepare the GPU, and run the command."""
    _join(os.environ.pop(NAMESPACE))
    if seconds := os.environ.pop(EPOCH_SECONDS, ""):
        result = pickle.loads(Path(os.environ.pop(RESULT)).read_bytes())
        pipeline.tune = SimulatedGpu(result, float(seconds)).tune  # type: ignore[assignment]
    if seconds := os.environ.pop(IMAGE_SECONDS, ""):
        _slow_down_the_tower(float(seconds))
    from dspt.cli import main as dspt

    dspt()


def _slow_down_the_tower(seconds: float) -> None:
    encode = Backbone.encode

    def slow(backbone: Backbone, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(seconds * len(crops))
        return encode(backbone, crops)

    Backbone.encode = slow  # type: ignore[method-assign, assignment]


def _join(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(namespace).open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot join {namespace}")
