"""Loaded models: a class matrix each, on image towers that they share.

Nothing is computed on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from app.kit.cache import SizedCache
from app.kit.http.errors import ServiceUnavailable, TooManyRequests
from app.predictions.backbones import Backbones
from app.predictions.metrics import EngineMetrics
from app.predictions.settings import PredictionSettings
from app.predictions.towers import Towers
from dspt.errors import ArtifactError, BackboneMismatch, ImageError
from dspt.model.drift import distances

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.predictions.tower import Features, Tower
    from dspt.model.format import Artifact
    from dspt.model.scores import ClassScores

T = TypeVar("T")

Scores = list[tuple[str, float]]
"""(class, probability), best first."""


@dataclass(frozen=True)
class Served:
    """A loaded model without its backbone, which may be evicted and loaded again."""

    matrix: ClassScores
    backbone: str
    backbone_digest: str
    served: str
    """`tuned` or `zero_shot`."""
    class_means: NDArray[np.int8] | None = None
    """(K, D), see `dspt.model.drift`."""


@dataclass(frozen=True)
class Classified:
    """The answer for one image, with what a captured prediction keeps of it."""

    scores: list[Scores]
    """By each classifier."""
    margin: float
    """Probability of the most likely class minus that of the second one, by the first classifier.
    """
    features: NDArray[np.float16]
    """(F,)"""
    distance: float | None
    """From the photos that the first classifier was tuned on; None if it has no class means."""


class Inference:
    """One per process. Close it at the end."""

    def __init__(
        self, settings: PredictionSettings, tower_dir: Path, metrics: EngineMetrics | None = None
    ) -> None:
        """`tower_dir` caches image towers compiled for OpenVINO."""
        self._settings = settings
        self._metrics = metrics or EngineMetrics()
        self.backbones = Backbones(settings, tower_dir)
        self._towers = Towers(settings, self._metrics)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="matrices")
        self._matrices: SizedCache[Served] = SizedCache(
            settings.cached_classifiers, settings.cached_bytes
        )
        self._loading: dict[str, asyncio.Task[Served]] = {}
        self._waiting = 0
        #: The same by API key.
        self._waiting_of: Counter[str | None] = Counter()
        self._metrics.watch(lambda: self._waiting, self._matrices, self.backbones)

    async def prepare(self, key: str, read: Callable[[], Artifact]) -> Served:
        """Return the model cached under `key`, or load the one that `read` returns.

        Other requests are served meanwhile. Raises what `read` raises, UnknownBackbone,
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
        return await asyncio.shield(loading)  # other requests may wait for it too

    async def with_backbone(self, name: str, work: Callable[..., T], *arguments: Any) -> T:
        """Return `work(backbone, *arguments)`, run where torch is. Raises as `prepare` does."""
        return await self._on_loader(self.backbones.run, work, name, *arguments)

    async def predict(
        self,
        served: Sequence[Served],
        images: Sequence[bytes],
        top_k: int,
        key_id: str | None = None,
    ) -> list[list[Scores] | ImageError]:
        """Return for each encoded image its top classes by each of `served`, or its ImageError.

        All of `served` share one backbone. Callers hold `room` for the images. API keys take
        turns. If the caller is cancelled, images that are not in progress are neither decoded nor
        classified.
        """
        matrices = [each.matrix for each in served]
        answer = partial(_top, matrices, top_k)
        name, digest = served[0].backbone, served[0].backbone_digest
        return await self._encoded(name, digest, images, answer, key_id)

    async def predict_to_capture(
        self,
        served: Sequence[Served],
        images: Sequence[bytes],
        top_k: int,
        key_id: str | None = None,
    ) -> list[Classified | ImageError]:
        """Do what `predict` does, and return margins, features and distances too."""
        matrices = [each.matrix for each in served]
        answer = partial(_classified, matrices, served[0].class_means, top_k)
        name, digest = served[0].backbone, served[0].backbone_digest
        return await self._encoded(name, digest, images, answer, key_id)

    async def features(
        self, backbone: str, digest: str, images: Sequence[bytes], key_id: str | None
    ) -> list[NDArray[np.float32] | ImageError]:
        """Return the (F,) features of each encoded image, or its ImageError."""
        return await self._encoded(backbone, digest, images, list, key_id)

    @contextmanager
    def room(self, images: int, key_id: str | None) -> Iterator[None]:
        """Reserve queue space for `images` of an API key.

        Raises ServiceUnavailable if too many images are waiting, and TooManyRequests if too many
        are this key's. A request that is larger than the queue needs an empty one.
        """
        if self._waiting + images > self._settings.max_waiting_images and self._waiting:
            raise ServiceUnavailable(
                f"Too many images are waiting ({self._waiting}). Retry after 1 s.",
                code="busy",
                headers={"Retry-After": "1"},
            )
        of_key = self._waiting_of[key_id]
        if key_id and of_key and of_key + images > self._settings.waiting_images_per_key:
            raise TooManyRequests(
                f"Too many images of this API key are waiting ({of_key}). Retry after 1 s.",
                code="too_many_waiting",
                headers={"Retry-After": "1"},
            )
        self._waiting += images
        self._waiting_of[key_id] += images
        try:
            yield
        finally:
            self._waiting -= images
            self._waiting_of[key_id] -= images
            if not self._waiting_of[key_id]:
                del self._waiting_of[key_id]

    def close(self) -> None:
        """Finish running work and drop waiting work."""
        self._loader.shutdown(cancel_futures=True)
        self._towers.close()
        self.backbones.close()

    async def _load(self, key: str, read: Callable[[], Artifact]) -> Served:
        artifact = await self._on_loader(read)
        manifest = artifact.manifest
        name = manifest.config.backbone
        tower = await self.backbones.tower(name, manifest.backbone_digest)
        matrix = await self._on_loader(_ensemble, artifact, tower)
        if matrix is None:
            matrix = await self._on_loader(_from_text, self.backbones, artifact)
        means = artifact.class_means
        _check_width(means, tower)
        served = Served(matrix, name, tower.digest, manifest.served, means)
        self._matrices.put(key, served, matrix.nbytes + (0 if means is None else means.nbytes))
        return served

    def _loaded(self, key: str, task: asyncio.Task[Served]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # marks it as retrieved; waiting requests get it themselves

    async def _on_loader(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.wrap_future(self._loader.submit(work, *arguments))

    async def _encoded(
        self,
        name: str,
        digest: str,
        images: Sequence[bytes],
        answer: Callable[[Features], Sequence[T]],
        key_id: str | None,
    ) -> list[T | ImageError]:
        try:
            tower = await self.backbones.tower(name, digest)
        except BackboneMismatch as error:  # evicted, changed on disk and loaded again
            raise BackboneMismatch(
                f"the weights of {name} have changed since the model was loaded"
            ) from error
        return await self._towers.encode(tower, images, answer, key_id)


def _ensemble(artifact: Artifact, tower: Tower) -> ClassScores | None:
    from dspt.model.scores import ensemble_scores

    return ensemble_scores(artifact, (tower.embed_dim, tower.feature_dim), tower.name)


def _check_width(means: NDArray[np.int8] | None, tower: Tower) -> None:
    if means is not None and means.shape[1] != tower.embed_dim:
        raise ArtifactError(
            f"the class means have width {means.shape[1]}, but embeddings of {tower.name} have "
            f"width {tower.embed_dim}"
        )


def _from_text(backbones: Backbones, artifact: Artifact) -> ClassScores:
    from dspt.model.scores import text_scores

    return backbones.run(text_scores, artifact.manifest.config.backbone, artifact)


def _top(matrices: Sequence[ClassScores], top_k: int, features: Features) -> list[list[Scores]]:
    """Return for each image the scores by each matrix."""
    by_matrix = [matrix.top(features, top_k) for matrix in matrices]
    return [list(scores) for scores in zip(*by_matrix, strict=True)]


def _classified(
    matrices: Sequence[ClassScores],
    means: NDArray[np.int8] | None,
    top_k: int,
    features: Features,
) -> list[Classified]:
    """Return for each image what `Classified` has."""
    found = _top(matrices, max(2, top_k), features)
    far: Sequence[float | None] = [None] * len(features)
    if means is not None:
        far = distances(means, features).tolist()
    return [
        Classified([each[:top_k] for each in scores], _margin(scores[0]), row, distance)
        for scores, row, distance in zip(found, features.astype("float16"), far, strict=True)
    ]


def _margin(scores: Scores) -> float:
    (_, best), (_, second) = scores[:2]
    return best - second
