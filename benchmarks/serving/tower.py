"""The image tower by itself, as the API runs it: what the service is measured by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from dspt.backbones import Backbone, load_backbone
from dspt.backbones.compiled import available, compile_image_tower
from dspt.data import decode_image

MOST_IMAGES = 64
"""In a batch."""
_LEAST_BATCHES = 2


@dataclass(frozen=True)
class TowerOrder:
    """What to measure."""

    what: Literal["tower", "decode", "both"]
    """The tower on crops that are there; JPEGs to crops; one after the other."""
    batch: int
    seconds: float


@dataclass(frozen=True)
class Speed:
    engine: str
    """`torch` or `openvino`."""
    images_per_second: float
    cpu_ms: float
    """Processor time for each image."""


def make_tower(backbone: str, folder: Path, photos: Sequence[bytes], threads: int) -> RawTower:
    """What runs in a process of its own."""
    return RawTower(backbone, folder, photos, threads)


class RawTower:
    """Called with an order, gives the speed."""

    def __init__(self, name: str, folder: Path, photos: Sequence[bytes], threads: int) -> None:
        """`folder` keeps the tower as OpenVINO reads it."""
        torch.set_num_threads(threads)
        self._photos, self._backbone = photos, _as_served(load_backbone(name), folder)
        self._decoders = ThreadPoolExecutor(threads)
        self._crops = self._decode(MOST_IMAGES)

    def __call__(self, order: TowerOrder) -> Speed:
        run: Callable[[], object]
        if order.what == "tower":
            crops = self._crops[: order.batch].contiguous()

            def run() -> object:
                return self._backbone.encode_crops(crops)
        elif order.what == "decode":

            def run() -> object:
                return self._decode(order.batch)
        else:

            def run() -> object:
                return self._backbone.encode_crops(self._decode(order.batch))

        run()
        batches, start, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - start < order.seconds or batches < _LEAST_BATCHES:
            run()
            batches += 1
        images = batches * order.batch
        return Speed(
            self._backbone.engine,
            images / (time.perf_counter() - start),
            1000 * (time.process_time() - cpu) / images,
        )

    def _decode(self, count: int) -> torch.Tensor:
        """So many photos as the tower takes them, on as many threads as it has."""
        photos = [self._photos[number % len(self._photos)] for number in range(count)]
        return torch.stack(list(self._decoders.map(self._crop, photos)))

    def _crop(self, photo: bytes) -> torch.Tensor:
        return self._backbone.preprocess.crop(decode_image(photo))


def _as_served(backbone: Backbone, folder: Path) -> Backbone:
    if not available():
        return backbone
    try:
        return compile_image_tower(backbone, folder)
    except ValueError:  # OpenVINO does not know it; torch runs it in the API, too
        return backbone
