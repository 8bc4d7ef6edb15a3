"""The image tower alone, as the API runs it: the reference for the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from app.predictions.tower import Tower
from dspt.backbones import Backbone, load_backbone
from dspt.backbones.compiled import available, compile_image_tower
from dspt.data import decode_image

MOST_IMAGES = 64
"""Maximum per batch."""
_LEAST_BATCHES = 2


What = Literal["tower", "decode", "both"]
"""The tower on decoded crops; JPEGs to crops; both in turn."""


class RawTower:
    """Measures the tower. Lives in a process of its own."""

    def __init__(self, name: str, folder: Path, photos: Sequence[bytes], threads: int) -> None:
        """`folder`: cache of compiled towers."""
        torch.set_num_threads(threads)
        self._photos = photos
        self._tower = _as_served(load_backbone(name), folder, threads)
        # As in the API: a compiled tower runs one batch per thread.
        self._lanes = 1 if self._tower.engine == "torch" else threads
        self._threads = ThreadPoolExecutor(threads)
        self._crops = self._decode(MOST_IMAGES)

    def speed(self, what: What, batch: int, seconds: float) -> dict[str, Any]:
        """Return engine, images per second and CPU ms of an image, in batches of `batch`."""
        crops = self._crops[:batch]
        runs: dict[str, Callable[[], object]] = {
            "tower": lambda: self._tower.encode(crops),
            "decode": lambda: self._decode(batch),
            "both": lambda: self._tower.encode(self._decode(batch)),
        }
        run, lanes = runs[what], self._lanes
        list(self._threads.map(lambda _: run(), range(lanes)))
        start, cpu = time.perf_counter(), time.process_time()
        batches = sum(self._threads.map(lambda _: _repeat(run, seconds), range(lanes)))
        images = batches * batch
        return {
            "engine": self._tower.engine,
            "images_per_second": images / (time.perf_counter() - start),
            "cpu_ms": 1000 * (time.process_time() - cpu) / images,
        }

    def _decode(self, count: int) -> NDArray[np.uint8]:
        """Return `count` photos as the tower takes them."""
        photos = [self._photos[number % len(self._photos)] for number in range(count)]
        return np.stack([self._tower.crop(decode_image(photo)) for photo in photos])


def _repeat(run: Callable[[], object], seconds: float) -> int:
    """Run for at least `seconds`; return how often."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or count < _LEAST_BATCHES:
        run()
        count += 1
    return count


def _as_served(backbone: Backbone, folder: Path, threads: int) -> Tower:
    if not available():
        return backbone
    try:
        return compile_image_tower(backbone.name, backbone.digest, folder, streams=threads)
    except ValueError:  # not supported by OpenVINO; the API uses torch, too
        return backbone
