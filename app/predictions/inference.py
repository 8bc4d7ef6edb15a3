"""From decoded images to predictions: the thread of the image towers, and the class matrices.

torch never runs on the event loop. Images are decoded and resized on some threads, while one other
thread runs what waits through an image tower: requests that come meanwhile, for whatever model on
the same backbone, gather and go through it together; then each meets its own class matrix.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from app.kit.batching import Batcher
from app.kit.cache import SizedCache
from app.kit.errors import ServiceUnavailable
from app.predictions.backbones import Backbones
from app.predictions.metrics import EngineMetrics
from app.predictions.settings import PredictionSettings
from dspt.errors import BackboneMismatch, ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from dspt.artifact import TunedModel
    from dspt.backbones.base import Backbone
    from dspt.predict import ClassMatrix

T = TypeVar("T")

Scores = list[tuple[str, float]]
"""(class, probability), best first."""


@dataclass(frozen=True)
class Served:
    """A tuned model ready to answer, apart from its backbone, which may go and come back."""

    matrix: ClassMatrix
    backbone: str
    backbone_digest: str
    served: str
    """`tuned` or `zero_shot`."""


@dataclass(frozen=True)
class _Request:
    """What goes through an image tower, and what is made of its (N, D) features."""

    backbone: Backbone
    crops: list[Tensor]
    answer: Callable[[Tensor], Any]


class Inference:
    """One per process. Close it at the end."""

    def __init__(
        self, settings: PredictionSettings, tower_dir: Path, metrics: EngineMetrics | None = None
    ) -> None:
        """`tower_dir` keeps image towers as OpenVINO reads them."""
        self._settings = settings
        self._metrics = metrics or EngineMetrics()
        self.backbones = Backbones(settings, tower_dir)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="matrices")
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._batcher: Batcher[str, _Request, Any] = Batcher(
            self._thread,
            self._run_timed,
            settings.batch_images,
            max_wait=settings.max_wait_ms / 1000,
        )
        self._matrices: SizedCache[Served] = SizedCache(
            settings.cached_classifiers, settings.cached_bytes
        )
        self._loading: dict[str, asyncio.Task[Served]] = {}
        self._waiting = 0
        self._metrics.watch(self)

    @property
    def waiting(self) -> int:
        """Images that wait for a tower, or are at work."""
        return self._waiting

    @property
    def matrices(self) -> SizedCache[Served]:
        """What is kept in memory."""
        return self._matrices

    async def prepare(self, key: str, read: Callable[[], TunedModel]) -> Served:
        """The model kept under `key`, or the one that `read` gives, made ready.

        Others are answered meanwhile. Raises what `read` raises, UnknownBackbone,
        WeightsUnavailable and BackboneMismatch.
        """
        served = self._matrices.get(key)
        self._metrics.looked_up(hit=served is not None)
        if served is not None:
            return served
        loading = self._loading.get(key)
        if loading is None:
            loading = asyncio.create_task(self._load(key, read))
            self._loading[key] = loading
            loading.add_done_callback(lambda task: self._loaded(key, task))
        return await asyncio.shield(loading)  # others may wait for it too

    async def with_backbone(self, name: str, work: Callable[[Backbone], T]) -> T:
        """`work` done with a backbone's text tower, beside the predictions. Raises as `prepare`."""
        return await self._on_loader(work, await self.backbones.get(name))

    async def predict(
        self, served: Sequence[Served], images: Sequence[bytes], top_k: int
    ) -> list[list[Scores] | ImageError]:
        """The likeliest classes of each encoded image by each of `served`, or why it is unreadable.

        All of `served` are on one backbone. Whoever uses it holds `room` for the images. An image
        whose caller is cancelled is neither decoded nor classified, if it is not at work already.
        """
        matrices = [each.matrix for each in served]
        answer = partial(_top, matrices, top_k)
        return await self._encoded(served[0].backbone, served[0].backbone_digest, images, answer)

    async def features(
        self, backbone: str, digest: str, images: Sequence[bytes]
    ) -> list[Tensor | ImageError]:
        """The (D,) features of each encoded image, unit length, or why it is unreadable."""
        return await self._encoded(backbone, digest, images, list)

    @contextmanager
    def room(self, images: int) -> Iterator[None]:
        """Room for `images` to wait in; ServiceUnavailable when too many are waiting already."""
        if self._waiting + images > self._settings.max_waiting_images and self._waiting:
            raise ServiceUnavailable(
                f"{self._waiting} images are waiting to be classified. Try again in a moment.",
                code="busy",
                headers={"Retry-After": "1"},
            )
        self._waiting += images
        try:
            yield
        finally:
            self._waiting -= images

    def close(self) -> None:
        """Let what runs finish and drop what waits."""
        for executor in (self._loader, self._decoders, self._thread):
            executor.shutdown(cancel_futures=True)
        self.backbones.close()

    async def _load(self, key: str, read: Callable[[], TunedModel]) -> Served:
        model = await self._on_loader(read)
        config = model.manifest.config
        backbone = await self.backbones.get(config.backbone)
        matrix = await self._on_loader(_class_matrix, model, backbone)
        served = Served(matrix, config.backbone, backbone.digest, model.manifest.served)
        self._matrices.put(key, served, matrix.linear.matrix.nbytes)
        return served

    def _loaded(self, key: str, task: asyncio.Task[Served]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # whoever still waits is told; if nobody does, it is no news

    async def _on_loader(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.wrap_future(self._loader.submit(work, *arguments))

    async def _encoded(
        self,
        name: str,
        digest: str,
        images: Sequence[bytes],
        answer: Callable[[Tensor], Sequence[T]],
    ) -> list[T | ImageError]:
        backbone = await self.backbones.get(name)
        if backbone.digest != digest:  # dropped, changed on the disk and loaded again
            raise BackboneMismatch(f"the weights of {name} have changed since the model was loaded")
        futures: list[Future[Tensor | ImageError]] = [
            self._decoders.submit(self._decode_timed, backbone, image) for image in images
        ]
        decoded = await asyncio.gather(*map(asyncio.wrap_future, futures))
        crops = [item for item in decoded if not isinstance(item, ImageError)]
        answers: Iterator[T] = iter(())
        if crops:
            request = _Request(backbone, crops, answer)
            answers = iter(await self._batcher.submit(digest, request, len(crops)))
        return [item if isinstance(item, ImageError) else next(answers) for item in decoded]

    # The rest runs on the threads.

    def _decode_timed(self, backbone: Backbone, data: bytes) -> Tensor | ImageError:
        start = time.perf_counter()
        decoded = self._decode(backbone, data)
        seconds = time.perf_counter() - start
        self._metrics.decoded(seconds, readable=not isinstance(decoded, ImageError))
        return decoded

    def _run_timed(self, digest: str, requests: list[_Request]) -> list[Any]:
        start = time.perf_counter()
        answers = self._run_batch(digest, requests)
        seconds = time.perf_counter() - start
        engine = requests[-1].backbone.engine
        self._metrics.ran(engine, sum(len(answer) for answer in answers), seconds)
        return answers

    def _decode(self, backbone: Backbone, data: bytes) -> Tensor | ImageError:
        from dspt.data import decode_image

        try:
            image = decode_image(data, max_pixels=self._settings.max_pixels)
        except ImageError as error:
            return error
        return backbone.preprocess.crop(image)

    def _run_batch(self, _digest: str, requests: list[_Request]) -> list[Any]:
        import torch

        backbone = requests[-1].backbone  # the newest knows the fastest engine
        crops = [image for request in requests for image in request.crops]
        size = self._settings.batch_images  # one large request may be more than a batch
        features = torch.cat(
            [
                backbone.encode_crops(torch.stack(crops[i : i + size]))
                for i in range(0, len(crops), size)
            ]
        )
        parts = torch.split(features, [len(request.crops) for request in requests])
        return [request.answer(part) for request, part in zip(requests, parts, strict=True)]


def _class_matrix(model: TunedModel, backbone: Backbone) -> ClassMatrix:
    from dspt.predict import ClassMatrix

    return ClassMatrix(model, backbone)


def _top(matrices: Sequence[ClassMatrix], top_k: int, features: Tensor) -> list[list[Scores]]:
    """Of each image, the scores by each matrix."""
    by_matrix = [matrix.top(features, top_k) for matrix in matrices]
    return [list(scores) for scores in zip(*by_matrix, strict=True)]
