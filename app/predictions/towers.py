"""Threads that decode images and run image towers.

Waiting images of one backbone are batched, whatever their models. On a CPU each thread runs its own
batch on one core: threads that share a batch wait for one another after each layer, and for the
decoders that share their cores.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from app.kit.batching import Batcher
from app.predictions.metrics import EngineMetrics
from app.predictions.settings import PredictionSettings
from dspt.errors import ImageError

if TYPE_CHECKING:
    from app.predictions.tower import Crop, Features, Tower

_log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class _Request:
    """Images for an image tower, and the function to apply to their (N, F) features."""

    tower: Tower
    crops: list[Crop]
    answer: Callable[[Features], Any]


class Towers:
    """One per process. Close it at the end."""

    def __init__(self, settings: PredictionSettings, metrics: EngineMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._cpu_batch = settings.batch_images or 8
        self._gpu_batch = settings.batch_images or 64
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        #: One image each: only for the turns of the owners.
        self._decoding: Batcher[None, tuple[Tower, bytes], Crop] = Batcher(
            self._decoders, self._decode_all, 1
        )
        self._local = threading.local()

    async def encode(
        self,
        tower: Tower,
        images: Sequence[bytes],
        answer: Callable[[Features], Sequence[T]],
        owner: str | None = None,
    ) -> list[T | ImageError]:
        """Return for each encoded image the result of `answer` for its features, or its ImageError.

        `answer` is called on a tower thread with the (N, F) features of readable images. Owners
        take turns. If the caller is cancelled, images that are not in progress are left out.
        """
        decoded = await asyncio.gather(*(self._decoded(tower, image, owner) for image in images))
        crops = [item for item in decoded if not isinstance(item, ImageError)]
        answers = await self._answers(tower, crops, answer, owner)
        return [item if isinstance(item, ImageError) else next(answers) for item in decoded]

    async def _decoded(self, tower: Tower, image: bytes, owner: str | None) -> Crop | ImageError:
        try:
            return await self._decoding.submit(None, (tower, image), 1, owner)
        except ImageError as error:
            return error

    async def _answers(
        self,
        tower: Tower,
        crops: list[Crop],
        answer: Callable[[Features], Sequence[T]],
        owner: str | None,
    ) -> Iterator[T]:
        """Split the crops so that all threads share a large request; keep their order."""
        on_cpu = tower.on_cpu
        batcher = self._on_cpu if on_cpu else self._on_gpu
        most = self._cpu_batch if on_cpu else self._gpu_batch
        threads = self._settings.tower_threads if on_cpu else 1
        size = max(1, min(most, math.ceil(len(crops) / threads)))
        parts = [crops[i : i + size] for i in range(0, len(crops), size)]
        answered = await asyncio.gather(
            *(
                batcher.submit(tower.digest, _Request(tower, part, answer), len(part), owner)
                for part in parts
            )
        )
        return chain.from_iterable(answered)

    def close(self) -> None:
        """Finish running work and drop waiting work."""
        for executor in (self._decoders, self._cpu_threads, self._gpu_thread):
            executor.shutdown(cancel_futures=True)

    # Threads start on first use.

    @cached_property
    def _cpu_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._settings.tower_threads, "towers")

    @cached_property
    def _gpu_thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "towers")

    @cached_property
    def _on_cpu(self) -> Batcher[str, _Request, Any]:
        return self._batcher(self._cpu_threads, self._cpu_batch, self._settings.tower_threads)

    @cached_property
    def _on_gpu(self) -> Batcher[str, _Request, Any]:
        return self._batcher(self._gpu_thread, self._gpu_batch, 1)

    def _batcher(
        self, executor: ThreadPoolExecutor, most: int, threads: int
    ) -> Batcher[str, _Request, Any]:
        wait = self._settings.max_wait_ms / 1000
        return Batcher(executor, self._run, most, threads=threads, max_wait=wait)

    # The methods below run on the threads.

    def _decode_all(self, _key: None, images: list[tuple[Tower, bytes]]) -> list[Crop | Exception]:
        return [self._decode_timed(tower, image) for tower, image in images]

    def _decode_timed(self, tower: Tower, data: bytes) -> Crop | ImageError:
        start = time.perf_counter()
        decoded = self._decode(tower, data)
        seconds = time.perf_counter() - start
        self._metrics.decoded(seconds, readable=not isinstance(decoded, ImageError))
        return decoded

    def _decode(self, tower: Tower, data: bytes) -> Crop | ImageError:
        from dspt.data.images import decode_image

        try:
            image = decode_image(data, side=tower.read_side, max_pixels=self._settings.max_pixels)
        except ImageError as error:
            return error
        return tower.crop(image)

    def _run(self, digest: str, requests: list[_Request]) -> list[Any]:
        """Return the answer of each request, or its error.

        If the tower fails on a batch, each request runs alone, so that one cannot fail the others.
        """
        import numpy as np

        start = time.perf_counter()
        tower = requests[-1].tower  # the newest has the fastest engine
        if tower.on_cpu and "torch" in sys.modules:
            self._use_one_core()
        crops = [image for request in requests for image in request.crops]
        try:
            features = tower.encode(np.stack(crops))
        except Exception as error:
            if len(requests) == 1:
                raise
            _log.warning("a batch failed; its requests run alone", error=str(error))
            return [_run_alone(self._run, digest, request) for request in requests]
        ends = np.cumsum([len(request.crops) for request in requests])
        parts = np.split(features, ends[:-1])
        answers = [_answer(request, part) for request, part in zip(requests, parts, strict=True)]
        self._metrics.ran(tower.engine, len(crops), time.perf_counter() - start)
        return answers

    def _use_one_core(self) -> None:
        if not getattr(self._local, "uses_one_core", False):
            import torch

            torch.set_num_threads(1)  # of this thread
            self._local.uses_one_core = True


def _run_alone(
    run: Callable[[str, list[_Request]], list[Any]], digest: str, request: _Request
) -> Any:
    try:
        return run(digest, [request])[0]
    except Exception as error:  # noqa: BLE001 - raised for the caller of this request
        return error


def _answer(request: _Request, features: Features) -> Any:
    try:
        return request.answer(features)
    except Exception as error:  # noqa: BLE001 - raised for the caller of this request
        return error
