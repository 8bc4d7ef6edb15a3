"""Backbones in memory: loaded on demand, the least recently used evicted beyond a size limit.

On a CPU image towers run in OpenVINO. What still needs torch, such as class embeddings, and towers
that are not converted yet, run in a process that ends afterwards (`TorchChild`). This process
imports torch only on a GPU, without OpenVINO, and for towers that OpenVINO cannot run.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock, Semaphore
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from app.kit.cache import SizedCache
from app.kit.file_lock import locked
from app.kit.http.errors import ServiceUnavailable
from app.predictions.settings import PredictionSettings
from app.predictions.torch_child import ChildTower, TorchChild, on_backbone
from dspt.errors import BackboneMismatch, DsptError, WeightsUnavailable
from dspt.kit.device import may_have_gpu
from dspt.kit.memory import trim

if TYPE_CHECKING:
    from app.predictions.tower import Tower
    from dspt.backbones.base import Backbone

T = TypeVar("T")

_log = structlog.get_logger(__name__)

#: A search for weights may wait for an unreachable network, and block other loads.
_RETRY_WEIGHTS_SECONDS = 30.0
#: Backbones to read at a time; the next one is read while the first is used.
_READERS = 2
#: A silent hub holds a thread for minutes.
_LOADERS = 16
#: A request waits so long for a download, which may take minutes, and then gets 503.
_DOWNLOAD_PATIENCE_SECONDS = 8.0
#: Raised if OpenVINO cannot run a tower.
_CANNOT_COMPILE = (ValueError, RuntimeError, OSError)


class Backbones:
    """One per process. Close it at the end."""

    def __init__(self, settings: PredictionSettings, tower_dir: Path) -> None:
        """`tower_dir` caches image towers converted for OpenVINO."""
        self._settings = settings
        self._tower_dir = tower_dir
        self._loaders = ThreadPoolExecutor(_LOADERS, thread_name_prefix="backbones")
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="compile")
        # Limited by bytes only.
        self._resident: SizedCache[Tower] = SizedCache(10**6, settings.backbone_bytes)
        self._child = TorchChild(settings.tower_threads)
        self._reading = Semaphore(_READERS)
        self._lock = Lock()
        self._downloading: set[str] = set()
        self._closed = False
        self._loading: dict[str, Future[Any]] = {}
        self._unavailable: dict[str, tuple[WeightsUnavailable, float]] = {}
        #: Name -> digest of the weights that were last read.
        self._digests: dict[str, str] = {}
        self._cold = dict.fromkeys(settings.warm_ups, "loading")
        self.warm_up()

    @property
    def engines(self) -> dict[str, str]:
        """Backbone in memory -> engine of its image tower, `torch` or `openvino`."""
        resident = self._resident.values().values()
        return dict(sorted((tower.name, tower.engine) for tower in resident))

    @property
    def precisions(self) -> dict[str, str]:
        """Backbone in memory -> precision of its image tower, as decided when it was loaded."""
        resident = self._resident.values().values()
        return dict(sorted((tower.name, tower.precision) for tower in resident))

    @property
    def bytes(self) -> int:
        """Memory of their weights, in bytes."""
        return self._resident.bytes

    def warm_up(self) -> dict[str, str]:
        """Retry warm-up loads; return backbone -> reason of those that are not loaded yet."""
        for name in list(self._cold):
            loading = self._load_once(name, self._load_warm, name)
            loading.add_done_callback(partial(self._warmed, name))
        return dict(self._cold)

    async def tower(self, name: str, digest: str) -> Tower:
        """Return the image tower of the backbone `name` with this digest, loading it if needed.

        Raises BackboneMismatch if the weights have another digest, ServiceUnavailable while they
        are being downloaded; else as `run` does.
        """
        key = _key(name, digest)
        found = self._resident.get(key)
        if found is None:
            found = await self._loaded(name, key, self._load_tower, name, digest)
        if found.digest != digest:
            raise BackboneMismatch(
                f"tuned on {name} with weights {digest[:12]}, but {name} has {found.digest[:12]}; "
                "load the backbone it was tuned on"
            )
        return found

    def run(self, work: Callable[..., T], name: str, *arguments: Any) -> T:
        """Return `work(backbone, *arguments)`, run where torch is. All of it can be pickled.

        Raises what `work` raises, UnknownBackbone, WeightsUnavailable and BackboneError.
        """
        found = self._resident.get(_key(name, self._digests.get(name, "")))
        if found is not None and found.engine == "torch" and not isinstance(found, ChildTower):
            return work(found, *arguments)
        if self._compiles:
            call: Callable[..., T] = self._child.call
            return self._patient(name, partial(call, on_backbone, work, name, *arguments))
        return work(self._read_here(name), *arguments)

    def close(self) -> None:
        """Drop waiting loads. Running ones are abandoned: a hub may be silent for minutes."""
        self._closed = True
        self._compiler.shutdown(wait=False, cancel_futures=True)
        self._loaders.shutdown(wait=False, cancel_futures=True)
        self._child.close()
        gc.unfreeze()  # libraries report leaks at exit otherwise

    async def _loaded(self, name: str, key: str, load: Callable[..., T], *arguments: str) -> T:
        # Not cancelled: other requests wait for it too, and later ones will use it.
        loading = asyncio.wrap_future(self._load_once(key, load, *arguments))
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

    def _load_once(self, key: str, load: Callable[..., T], *arguments: str) -> Future[T]:
        with self._lock:
            future = self._loading.get(key)
            if future is None:
                future = self._loaders.submit(self._load, key, load, *arguments)
                self._loading[key] = future
        return future

    def _warmed(self, name: str, loaded: Future[Any]) -> None:
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

    def _load(self, key: str, load: Callable[..., T], *arguments: str) -> T:
        try:
            return load(*arguments)
        finally:
            with self._lock:
                del self._loading[key]

    def _load_warm(self, name: str) -> None:
        """Load the tower that models on this backbone will most likely need."""
        from dspt.backbones.compiled import converted_digest

        if name in self.engines:
            return
        digest = converted_digest(name, self._tower_dir) if self._compiles else None
        if digest is None:
            self._read(name)
        else:
            self._load_tower(name, digest)

    def _load_tower(self, name: str, digest: str) -> Tower:
        tower = self._resident.get(_key(name, digest)) or self._read_converted(name, digest)
        if tower is None and self._digests.get(name, digest) != digest:
            tower = self._resident.get(_key(name, self._digests[name]))
        return tower or self._read(name)

    def _read_converted(self, name: str, digest: str) -> Tower | None:
        """Return the image tower without torch, if it was converted before."""
        from dspt.backbones import compiled

        if not self._compiles or not compiled.is_converted(digest, self._tower_dir):
            return None
        start = time.monotonic()
        try:
            tower = compiled.load_converted(
                name, digest, self._tower_dir, streams=self._settings.tower_threads
            )
        except _CANNOT_COMPILE as error:
            _log_torch(name, error)
            return None
        self._keep(tower)
        _log_loaded("image tower loaded", tower, start)
        return tower

    @property
    def _device(self) -> str:
        if self._settings.device != "auto":
            return self._settings.device
        if not may_have_gpu():
            return "cpu"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def _compiles(self) -> bool:
        from dspt.backbones import compiled

        wanted = self._settings.engine != "torch" and self._device == "cpu"
        return wanted and compiled.available()

    def _read(self, name: str) -> Tower:
        """Return the image tower in torch; if possible, have it compiled meanwhile."""
        if not self._compiles:
            return self._read_here(name)
        tower = self._patient(name, partial(ChildTower, self._child, name))
        self._digests[name] = tower.digest
        self._keep(tower)
        _log.info("backbone loaded", backbone=name, device="cpu")
        self._compiler.submit(self._compile, tower).add_done_callback(_log_failure)
        return tower

    def _read_here(self, name: str) -> Backbone:
        """Read the weights into this process."""
        from dspt.backbones import load_backbone
        from dspt.kit.light_torch import import_light

        import_light()
        if self._settings.engine == "openvino" and self._device == "cpu" and not self._compiles:
            _log.error("OpenVINO is not installed; run: pip install openvino")
        backbone = self._patient(name, partial(load_backbone, name, device=self._device))
        self._digests[name] = backbone.digest
        self._keep(backbone)
        _log.info("backbone loaded", backbone=name, device=str(backbone.device))
        return backbone

    def _patient(self, name: str, read: Callable[[], T]) -> T:
        """Return what `read` returns; do not search for missing weights again and again."""
        error, until = self._unavailable.get(name, (None, 0.0))
        if error is not None and time.monotonic() < until:
            raise error
        try:
            self._fetch_weights(name)
            with self._reading:
                return read()
        except WeightsUnavailable as failure:
            self._unavailable[name] = failure, time.monotonic() + _RETRY_WEIGHTS_SECONDS
            raise

    def _fetch_weights(self, name: str) -> None:
        """Download the weights unless they are on this machine."""
        from dspt.backbones import find_weights

        # Finding them needs open_clip, and so torch; downloading them does not.
        weights = self._child.call(find_weights, name) if self._compiles else find_weights(name)
        if weights.is_local():
            return
        self._downloading.add(name)
        try:
            weights.fetch()
        finally:
            self._downloading.discard(name)

    def _compile(self, tower: ChildTower) -> None:
        """Replace a tower in torch by a compiled one; torch serves meanwhile."""
        from dspt.backbones import compiled

        start = time.monotonic()
        try:
            # Converting takes a GiB: of the API processes of this machine, one does it for all.
            with locked(self._tower_dir / ".lock"):
                faster = compiled.compile_image_tower(
                    tower.name, tower.digest, self._tower_dir, streams=self._settings.tower_threads
                )
        except _CANNOT_COMPILE as error:
            _log_torch(tower.name, error)
            self._read_here(tower.name)
            return
        if self._resident.values().get(_key(tower.name, tower.digest)) is not tower:
            return  # evicted meanwhile
        self._keep(faster)
        self._child.rest()
        _log_loaded("image tower compiled", faster, start)

    def _keep(self, tower: Tower) -> None:
        if self._closed:
            return
        self._resident.put(_key(tower.name, tower.digest), tower, tower.nbytes)
        # Its imports leave a million permanent objects. A full collection over them would stop all
        # requests for half a second each time, so they are frozen.
        gc.unfreeze()  # so that evicted backbones are collected
        gc.collect()
        gc.freeze()
        trim()


def _key(name: str, digest: str) -> str:
    return f"{name} {digest}"


def _log_torch(name: str, error: Exception) -> None:
    _log.warning("OpenVINO cannot run this backbone; using torch", backbone=name, reason=str(error))


def _log_loaded(event: str, tower: Tower, start: float) -> None:
    seconds = round(time.monotonic() - start, 1)
    _log.info(
        event,
        backbone=tower.name,
        engine=tower.engine,
        precision=tower.precision,
        seconds=seconds,
    )


def _log_failure(future: Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.error("cannot compile image tower", exc_info=error)
