"""Metrics of predictions: queue, batches, durations and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.kit.cache import SizedCache
from app.predictions.backbones import Backbones

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
_ENGINES = ("torch", "openvino")


class EngineMetrics:
    """Metrics of one Inference. Thread-safe."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Default registry: a private one that is not exported."""
        registry = registry or CollectorRegistry()
        self._registry = registry
        self._images = Counter(
            "dspt_predict_images",
            "Images by outcome: `classified` or `unreadable`.",
            ["outcome"],
            registry=registry,
        )
        self._batch_images = Histogram(
            "dspt_predict_batch_images",
            "Images per batch of an image tower.",
            ["engine"],
            buckets=_IMAGES,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "dspt_predict_batch_seconds",
            "Seconds per batch in the image tower and its class matrices.",
            ["engine"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._decode_seconds = Histogram(
            "dspt_predict_decode_seconds",
            "Seconds to decode and resize an image.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._matrix_lookups = Counter(
            "dspt_predict_matrix_lookups",
            "Lookups of class matrices: `hit`, in memory; `miss`, to be loaded.",
            ["result"],
            registry=registry,
        )
        # Start at 0, so that Prometheus sees the first increment.
        for outcome in ("classified", "unreadable"):
            self._images.labels(outcome)
        for result in ("hit", "miss"):
            self._matrix_lookups.labels(result)

    def looked_up(self, *, hit: bool) -> None:
        self._matrix_lookups.labels("hit" if hit else "miss").inc()

    def decoded(self, seconds: float, *, readable: bool) -> None:
        self._decode_seconds.observe(seconds)
        if not readable:
            self._images.labels("unreadable").inc()

    def ran(self, engine: str, images: int, seconds: float) -> None:
        self._images.labels("classified").inc(images)
        self._batch_images.labels(engine).observe(images)
        self._batch_seconds.labels(engine).observe(seconds)

    def watch(
        self, waiting: Callable[[], int], matrices: SizedCache[Any], backbones: Backbones
    ) -> None:
        """Read these at each scrape: the number of waiting images, and what is in memory."""
        for name, text, value in (
            ("images_waiting", "Images that wait for an image tower.", waiting),
            ("matrices", "Class matrices in memory.", lambda: len(matrices)),
            ("matrix_bytes", "Bytes of the class matrices in memory.", lambda: matrices.bytes),
            ("backbone_bytes", "Bytes of the backbone weights in memory.", lambda: backbones.bytes),
        ):
            Gauge(f"dspt_predict_{name}", text, registry=self._registry).set_function(value)
        resident = Gauge(
            "dspt_predict_backbones",
            "Backbones in memory, by engine of their image tower.",
            ["engine"],
            registry=self._registry,
        )
        for engine in _ENGINES:
            resident.labels(engine).set_function(partial(_resident, backbones, engine))


def _resident(backbones: Backbones, engine: str) -> int:
    return list(backbones.engines.values()).count(engine)
