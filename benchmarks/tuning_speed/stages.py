"""Memory and time of each stage of a whole job."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tuning_speed.setup import (
    N_CTX,
    SHOTS,
    Case,
    build_backbone,
    class_names,
    peak,
    reset_peak,
    smooth_shapes,
)
from dspt.config import TuneConfig
from dspt.data import load_dataset
from dspt.kit.progress import Listener, Progress, Stage
from dspt.pipeline import tune
from dspt.prompt.learner import RANDOM

EPOCHS = 3
"""The memory of an epoch does not depend on their number."""
#: Distinct: copies would be merged.
_PHOTO_SIZE = (64, 48)
_MIB = 1 << 20


class Stages:
    """One job on generated photos, from the loaded backbone to the classifier."""

    def __init__(self, case: Case) -> None:
        self._case = case
        _, self._backbone = build_backbone(case.backbone, case.seed, case.device)

    def measure(self) -> list[dict[str, Any]]:
        """Run the job; return stage, seconds and peak of the memory beyond the model in MiB."""
        case = self._case
        config = TuneConfig(
            epochs=EPOCHS,
            n_ctx=N_CTX,
            ctx_init=RANDOM,
            seed=case.seed,
            device=case.device,
            precision="auto" if case.autocast else "float32",
        )
        with tempfile.TemporaryDirectory(prefix="dspt-stages-") as folder:
            _write_photos(Path(folder), case)
            dataset = load_dataset(Path(folder))
            peaks = Peaks(case.device)
            tune(dataset, config, listener=peaks, backbone=self._backbone)
            return peaks.finished()


class Peaks(Listener):
    """Reads the peak at the end of each stage and starts a new one."""

    def __init__(self, device: str) -> None:
        self._device, self._start = device, 0.0
        self._stage: Stage | None = None
        self._rows: list[dict[str, Any]] = []
        self._model = reset_peak(device)

    def progress(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._end()
            self._stage, self._start = progress.stage, time.perf_counter()

    def finished(self) -> list[dict[str, Any]]:
        self._end()
        return self._rows

    def _end(self) -> None:
        if self._stage is not None:
            mib = (peak(self._device) - self._model) / _MIB
            seconds = time.perf_counter() - self._start
            self._rows.append({"stage": self._stage, "seconds": seconds, "mib": mib})
        reset_peak(self._device)


def _write_photos(folder: Path, case: Case) -> None:
    """Write SHOTS files for each class."""
    rng = np.random.default_rng(case.seed)
    for name in class_names(case.classes):
        place = folder / name.replace("/", " ")
        place.mkdir()
        for number in range(SHOTS):
            smooth_shapes(rng, _PHOTO_SIZE).save(place / f"{number:02d}.jpg", quality=90)
