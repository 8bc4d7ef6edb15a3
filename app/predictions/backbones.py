"""Backbones in memory: loaded on demand, the least recently used evicted beyond a size limit.

They are loaded on separate threads, so that requests for other backbones need not wait. torch is
imported there too, so that the API starts without waiting for it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

import structlog

from app.kit.cache import SizedCache
from app.kit.http.errors import ServiceUnavailable
from app.predictions.settings import PredictionSettings
from dspt.errors import DsptError, WeightsUnavailable

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone

_log = structlog.get_logger(__name__)

#: A search for weights may wait for an unreachable network, and block other loads.
_RETRY_WEIGHTS_SECONDS = 30.0
#: Backbones to read at a time; the next one is read while the first is used.
_READERS = 2
#: A silent hub holds a thread for minutes.
_LOADERS = 16
#: A request waits so long for a download, which may take minutes, and then gets 503.
_DOWNLOAD_PATIENCE_SECONDS = 8.0


class Backbones:
    """One per process. Close it at the end."""

    def __init__(self, settings: PredictionSettings, tower_dir: Path) -> None:
        """`tower_dir` caches image towers compiled for OpenVINO."""
        self._settings = settings
        self._tower_dir = tower_dir
        self._loaders = ThreadPoolExecutor(_LOADERS, thread_name_prefix="backbones")
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="compile")
        # Limited by bytes only.
        self._resident: SizedCache[Backbone] = SizedCache(10**6, settings.backbone_bytes)
        self._reading = Semaphore(_READERS)
        self._lock = Lock()
        self._downloading: set[str] = set()
        self._closed = False
        self._loading: dict[str, Future[Backbone]] = {}
        self._unavailable: dict[str, tuple[WeightsUnavailable, float]] = {}
        self._cold = dict.fromkeys(settings.warm_ups, "loading")
        self.warm_up()

    @property
    def engines(self) -> dict[str, str]:
        """Backbone in memory -> engine of its image tower, `torch` or `openvino`."""
        return {name: each.engine for name, each in sorted(self._resident.values().items())}

    @property
    def bytes(self) -> int:
        """Memory of their weights, in bytes."""
        return self._resident.bytes

    def warm_up(self) -> dict[str, str]:
        """Retry warm-up loads; return backbone -> reason of those that are not loaded yet."""
        for name in list(self._cold):
            self._load_once(name).add_done_callback(partial(self._warmed, name))
        return dict(self._cold)

    async def get(self, name: str) -> Backbone:
        """Return the backbone, loading it if needed.

        Raises UnknownBackbone, WeightsUnavailable, BackboneError, and ServiceUnavailable while it
        is being downloaded.
        """
        found = self._resident.get(name)
        if found is not None:
            return found
        # Not cancelled: other requests wait for it too, and later ones will use it.
        loading = asyncio.wrap_future(self._load_once(name))
        # The error of a load that no request waits for any more; asyncio would log it.
        loading.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait((loading,), timeout=_DOWNLOAD_PATIENCE_SECONDS)
        if not loading.done() and name in self._downloading:
            raise ServiceUnavailable(
                f"The weights of {name} are being downloaded. Retry after 10 s.",
                code="backbone_downloading",
                headers={"Retry-After": "10"},
            )
        return await asyncio.shield(loading)

    def close(self) -> None:
        """Drop waiting loads. Running ones are abandoned: a hub may be silent for minutes."""
        self._closed = True
        self._compiler.shutdown(wait=False, cancel_futures=True)
        self._loaders.shutdown(wait=False, cancel_futures=True)
        gc.unfreeze()  # libraries report leaks at exit otherwise

    def _load_once(self, name: str) -> Future[Backbone]:
        with self._lock:
            future = self._loading.get(name)
            if future is None:
                future = self._loading[name] = self._loaders.submit(self._load, name)
        return future

    def _warmed(self, name: str, loaded: Future[Backbone]) -> None:
        if loaded.cancelled():
            return
        error = loaded.exception()
        if error is None:
            self._cold.pop(name, None)
        elif name in self._cold:
            reason = error.message if isinstance(error, DsptError) else str(error)
            if reason != self._cold[name]:
                _log.error("cannot warm up backbone", backbone=name, error=reason)
            self._cold[name] = reason

    # The methods below run on the threads.

    def _load(self, name: str) -> Backbone:
        try:
            return self._resident.get(name) or self._read(name)
        finally:
            with self._lock:
                del self._loading[name]

    def _read(self, name: str) -> Backbone:
        import torch

        from dspt.backbones import fetch_weights, load_backbone

        error, until = self._unavailable.get(name, (None, 0.0))
        if error is not None and time.monotonic() < until:
            raise error
        device = self._settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            fetch_weights(name, partial(self._downloading.add, name))
            self._downloading.discard(name)
            with self._reading:
                backbone = load_backbone(name, device=device)
        except WeightsUnavailable as failure:
            self._unavailable[name] = failure, time.monotonic() + _RETRY_WEIGHTS_SECONDS
            raise
        finally:
            self._downloading.discard(name)
        self._keep(name, backbone)
        _log.info("backbone loaded", backbone=name, device=device, resident=list(self.engines))
        if device == "cpu" and self._settings.engine != "torch":
            self._compiler.submit(self._compile, name, backbone).add_done_callback(_log_failure)
        return backbone

    def _compile(self, name: str, backbone: Backbone) -> None:
        """Replace torch's image tower by a compiled one; torch serves meanwhile."""
        from dspt.backbones import compiled

        if not compiled.available():
            if self._settings.engine == "openvino":
                _log.error("OpenVINO is not installed; run: pip install openvino")
            return
        start = time.monotonic()
        try:
            faster = compiled.compile_image_tower(
                backbone, self._tower_dir, streams=self._settings.tower_threads
            )
        except (ValueError, RuntimeError, OSError) as error:
            _log.warning(
                "OpenVINO cannot run this backbone; using torch", backbone=name, reason=str(error)
            )
            return
        if self._resident.values().get(name) is not backbone:
            return  # evicted meanwhile
        self._keep(name, faster)
        seconds = round(time.monotonic() - start, 1)
        _log.info("image tower compiled", backbone=name, engine="openvino", seconds=seconds)

    def _keep(self, name: str, backbone: Backbone) -> None:
        if self._closed:
            return
        self._resident.put(name, backbone, backbone.nbytes)
        # Its imports leave a million permanent objects. A full collection over them would stop all
        # requests for half a second each time, so they are frozen.
        gc.unfreeze()  # so that evicted backbones are collected
        gc.collect()
        gc.freeze()


def _log_failure(future: Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("cannot compile image tower", exc_info=error)
