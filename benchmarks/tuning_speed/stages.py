"""Time and memory of each stage of a whole job."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tuning_speed.setup import (
    SHOTS,
    Case,
    class_names,
    clocks,
    coarse_pixels,
    peak,
    reset_peak,
    smooth_shapes,
)
from dspt.backbones import load_backbone
from dspt.config import TuneConfig
from dspt.data import load_dataset
from dspt.kit.device import resolve_device
from dspt.kit.progress import Listener, Progress, Stage
from dspt.pipeline import tune

TEST_PHOTOS = 4
"""Of each class."""
WRONG_LABELS = 0.25
"""Share among the training photos."""
_PHOTO_SIZE = (96, 72)
_MIB = 1 << 20


class Stages:
    """A job with the default settings on generated photos, from the backbone to the classifier."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._backbone = load_backbone(case.backbone, device=resolve_device(case.device))

    def measure(self) -> list[dict[str, Any]]:
        """Run the job; return a row per stage.

        classes, stage, seconds and cpu_seconds (see `clocks`), and mib, the peak of the memory
        beyond the model.
        """
        case = self._case
        config = TuneConfig(backbone=case.backbone, seed=case.seed, device=case.device)
        with tempfile.TemporaryDirectory(prefix="dspt-stages-") as folder:
            _write_photos(Path(folder), case)
            dataset = load_dataset(Path(folder))
            peaks = Peaks(case.device)
            tune(dataset, config, listener=peaks, backbone=self._backbone)
            return [{"classes": case.classes, **row} for row in peaks.finished()]


class Peaks(Listener):
    """Reads clocks and peak at the end of each stage and starts a new one."""

    def __init__(self, device: str) -> None:
        self._device, self._start = device, (0.0, 0.0)
        self._stage: Stage | None = None
        self._rows: list[dict[str, Any]] = []
        self._model = reset_peak(device)

    def progress(self, progress: Progress) -> None:
        if progress.stage != self._stage:
            self._end()
            self._stage, self._start = progress.stage, clocks(self._device)

    def finished(self) -> list[dict[str, Any]]:
        self._end()
        return self._rows

    def _end(self) -> None:
        if self._stage is not None:
            mib = (peak(self._device) - self._model) / _MIB
            seconds, cpu = np.subtract(clocks(self._device), self._start).tolist()
            row = {"stage": self._stage, "seconds": seconds, "cpu_seconds": cpu, "mib": mib}
            self._rows.append(row)
        reset_peak(self._device)


def _write_photos(folder: Path, case: Case) -> None:
    """Write photos that show the picture of a class, of training photos often a wrong one."""
    rng = np.random.default_rng(case.seed)
    names = class_names(case.classes)
    pictures = [coarse_pixels(rng) for _ in names]
    for split, photos, wrong in (("train", SHOTS, WRONG_LABELS), ("test", TEST_PHOTOS, 0)):
        for label, name in enumerate(names):
            place = folder / split / name.replace("/", " ")
            place.mkdir(parents=True)
            for number in range(photos):
                shown = rng.integers(len(names)) if rng.random() < wrong else label
                mixed = 0.6 * pictures[shown] + 0.4 * coarse_pixels(rng)
                photo = smooth_shapes(mixed.astype(np.uint8), _PHOTO_SIZE)
                photo.save(place / f"{number:02d}.jpg", quality=90)
