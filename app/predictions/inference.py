"""The inference thread, and what it keeps: backbones and class matrices.

torch runs on this one thread, never on the event loop, and is imported there, so that the API
starts without waiting for it. Only decoding and resizing of images happens on other threads.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from app.kit.batching import Batcher
from app.kit.cache import SizedCache
from app.kit.errors import ServiceUnavailable
from app.predictions.settings import PredictionSettings
from dspt.errors import ImageError, WeightsUnavailable

if TYPE_CHECKING:
    from torch import Tensor

    from dspt.artifact import TunedModel
    from dspt.backbones.base import Backbone
    from dspt.predict import Classifier

_log = structlog.get_logger(__name__)
T = TypeVar("T")

#: To look for weights may mean to wait for a network that is not there, and everybody waits along.
_RETRY_WEIGHTS_SECONDS = 30.0

Scores = list[tuple[str, float]]
"""(class, probability), best first."""


@dataclass(frozen=True)
class Served:
    """A tuned model ready to answer."""

    classifier: Classifier
    backbone: Backbone
    served: str
    """`tuned` or `zero_shot`."""


@dataclass(frozen=True)
class _Request:
    classifier: Classifier
    pixels: list[Tensor]
    top_k: int


class Inference:
    """One per process. Close it at the end."""

    def __init__(self, settings: PredictionSettings, tower_dir: Path) -> None:
        """`tower_dir` keeps image towers as OpenVINO reads them."""
        self._settings = settings
        self._tower_dir = tower_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._batcher: Batcher[str, _Request, list[Scores]] = Batcher(
            self._thread, self._run_batch, settings.batch_images
        )
        self._backbones: dict[str, Backbone] = {}
        self._unavailable: dict[str, tuple[WeightsUnavailable, float]] = {}
        self._classifiers: SizedCache[Served] = SizedCache(
            settings.cached_classifiers, settings.cached_bytes
        )
        self._waiting = 0
        if settings.warm_up:
            self._thread.submit(self._backbone, settings.warm_up).add_done_callback(_log_failure)

    @property
    def loaded(self) -> list[str]:
        """Names of the backbones in memory."""
        return sorted(self._backbones)

    @property
    def engines(self) -> dict[str, str]:
        """Backbone in memory -> `torch` or `openvino`, which runs its image tower."""
        return {name: backbone.engine for name, backbone in self._backbones.items()}

    async def prepare(self, key: str, read: Callable[[], TunedModel]) -> Served:
        """The model kept under `key`, or the one that `read` gives, made ready.

        Raises what `read` raises, UnknownBackbone, WeightsUnavailable and BackboneMismatch.
        """
        served = self._classifiers.get(key)
        if served is not None:
            return served
        return await _shielded(self._thread.submit(self._load, key, read))

    async def predict(
        self, served: Served, images: Sequence[bytes], top_k: int
    ) -> list[Scores | ImageError]:
        """The likeliest classes of each encoded image, or why it cannot be decoded.

        Raises ServiceUnavailable when too many images are waiting already.
        """
        if self._waiting + len(images) > self._settings.max_waiting_images and self._waiting:
            raise ServiceUnavailable(
                f"{self._waiting} images are waiting to be classified. Try again in a moment.",
                code="busy",
                headers={"Retry-After": "1"},
            )
        self._waiting += len(images)
        try:
            return await self._predict(served, images, top_k)
        finally:
            self._waiting -= len(images)

    def close(self) -> None:
        """Let what runs finish and drop what waits."""
        self._compiler.shutdown(cancel_futures=True)
        self._decoders.shutdown(cancel_futures=True)
        self._thread.shutdown(cancel_futures=True)
        gc.unfreeze()  # libraries complain of what is left of them at the end

    async def _predict(
        self, served: Served, images: Sequence[bytes], top_k: int
    ) -> list[Scores | ImageError]:
        decoded = await asyncio.gather(
            *(
                _shielded(self._decoders.submit(self._decode, served.backbone, image))
                for image in images
            )
        )
        pixels = [item for item in decoded if not isinstance(item, ImageError)]
        scores = iter(
            await self._batcher.submit(
                served.backbone.digest, _Request(served.classifier, pixels, top_k), len(pixels)
            )
            if pixels
            else []
        )
        return [item if isinstance(item, ImageError) else next(scores) for item in decoded]

    # The rest runs on the threads.

    def _decode(self, backbone: Backbone, data: bytes) -> Tensor | ImageError:
        from dspt.data import decode_image

        try:
            image = decode_image(data, max_pixels=self._settings.max_pixels)
        except ImageError as error:
            return error
        return backbone.preprocess(image)

    def _load(self, key: str, read: Callable[[], TunedModel]) -> Served:
        from dspt.predict import Classifier

        served = self._classifiers.get(key)  # by a request that waited before this one
        if served is None:
            model = read()
            backbone = self._backbone(model.manifest.config.backbone)
            classifier = Classifier(model, backbone)
            served = Served(classifier, backbone, model.manifest.served)
            self._classifiers.put(key, served, classifier.linear.matrix.nbytes)
        return served

    def _backbone(self, name: str) -> Backbone:
        import torch

        from dspt.backbones import load_backbone

        if name in self._backbones:
            return self._backbones[name]
        error, until = self._unavailable.get(name, (None, 0.0))
        if error is not None and time.monotonic() < until:
            raise error
        device = self._settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            backbone = load_backbone(name, device=device)
        except WeightsUnavailable as failure:
            self._unavailable[name] = failure, time.monotonic() + _RETRY_WEIGHTS_SECONDS
            raise
        _log.info("backbone loaded", backbone=name, device=device)
        self._keep(name, backbone)
        if device == "cpu" and self._settings.engine != "torch":
            self._compiler.submit(self._compile, name).add_done_callback(_log_failure)
        return backbone

    def _compile(self, name: str) -> None:
        """Put a compiled image tower in the place of torch's, which answers meanwhile."""
        from dspt.backbones import compiled

        if not compiled.available():
            if self._settings.engine == "openvino":
                _log.error("OpenVINO is not installed: pip install openvino")
            return
        start = time.monotonic()
        try:
            backbone = compiled.compile_image_tower(self._backbones[name], self._tower_dir)
        except (ValueError, RuntimeError, OSError) as error:
            _log.warning("OpenVINO cannot run it; torch does", backbone=name, reason=str(error))
            return
        self._thread.submit(self._keep, name, backbone).result()
        seconds = round(time.monotonic() - start, 1)
        _log.info("image tower compiled", backbone=name, engine="openvino", seconds=seconds)

    def _keep(self, name: str, backbone: Backbone) -> None:
        # Replaced, not changed: the event loop reads it.
        self._backbones = {**self._backbones, name: backbone}
        # What was imported for it are a million objects that stay: to look through them for garbage
        # again and again would stop all requests for half a second each time.
        gc.collect()
        gc.freeze()

    def _run_batch(self, digest: str, requests: list[_Request]) -> list[list[Scores]]:
        import torch

        backbone = next(b for b in self._backbones.values() if b.digest == digest)
        pixels = [image for request in requests for image in request.pixels]
        device = requests[0].classifier.linear.matrix.device
        size = self._settings.batch_images  # one large request may be more than a batch
        features = torch.cat(
            [
                backbone.encode_image(torch.stack(pixels[i : i + size]).to(device))
                for i in range(0, len(pixels), size)
            ]
        )
        parts = torch.split(features, [len(request.pixels) for request in requests])
        return [
            request.classifier.top(part, request.top_k)
            for request, part in zip(requests, parts, strict=True)
        ]


async def _shielded(future: Future[T]) -> T:
    """Await work on a thread; a client that goes away leaves it to finish."""
    return await asyncio.shield(asyncio.wrap_future(future))


def _log_failure(future: Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("a backbone could not be made ready", error=str(error))
