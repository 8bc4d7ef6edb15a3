"""Image towers compiled for the CPU with OpenVINO: the same features in less time and memory.

Converting a tower needs torch, in a process of its own; running it does not.
"""

from __future__ import annotations

import json
import subprocess  # only a program of this package is started  # nosec B404
import sys
import tempfile
import threading
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dspt.backbones.preprocessing import Crops, Preprocessing

Features = NDArray[np.float32]
"""(B, F), see `dspt.backbones.base.Backbone.encode_image`."""

MAX_DIFFERENCE = 1e-3
"""Largest allowed difference of a value of a unit-length feature: a thousand times the rounding
error, and far too small to change a prediction."""
MODEL, ABOUT = "model.xml", "about.json"
"""Files of a converted tower: OpenVINO's model, and what else is known of the backbone."""
_FORMAT = "2"
"""Version of converted towers. Those of version 1 return embeddings alone."""


class CompiledTower:
    """The image tower of a backbone and its preprocessing. Several threads may use it at once."""

    engine = "openvino"
    on_cpu = True
    precision = "float32"

    def __init__(self, name: str, about: Mapping[str, Any], compiled: Any, nbytes: int) -> None:
        """about: see dspt.backbones.convert; compiled: openvino.CompiledModel."""
        self.name = name
        self.digest: str = about["digest"]
        self.embed_dim: int = about["embed_dim"]
        self.feature_dim: int = about["feature_dim"]
        self.nbytes = nbytes
        self._preprocessing = Preprocessing(about["preprocess"])
        self._compiled = compiled
        self._local = threading.local()

    @property
    def read_side(self) -> int:
        """Pixels that the shorter side of a photo needs."""
        return self._preprocessing.read_side

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB image: -> (H, W, 3)."""
        return self._preprocessing.crop(image)

    def encode(self, crops: Crops) -> Features:
        """Encode crops: (B, H, W, 3) -> (B, F)."""
        return self.encode_pixels(self._preprocessing.normalised(crops))

    def encode_pixels(self, pixels: NDArray[np.float32]) -> Features:
        """Encode normalised pixels: (B, 3, H, W) -> (B, F)."""
        request = getattr(self._local, "request", None)
        if request is None:  # one per thread: it holds the buffers
            request = self._local.request = self._compiled.create_infer_request()
        (features,) = request.infer(pixels, share_inputs=True).values()
        return unit_features(features, self.embed_dim)


def available() -> bool:
    """Return whether OpenVINO is installed (`pip install openvino`)."""
    return find_spec("openvino") is not None


def compile_image_tower(name: str, digest: str, folder: Path, *, streams: int = 1) -> CompiledTower:
    """Return the image tower of the backbone `name` with this digest, converted if necessary.

    folder: cache of converted towers. Converting takes some seconds in a separate process.
    streams: number of threads that may use the tower at the same time.

    Raises ValueError if OpenVINO cannot run the tower or gives different features.
    """
    if not is_converted(digest, folder):
        _convert(name, digest, _place(digest, folder))
    return load_converted(name, digest, folder, streams=streams)


def is_converted(digest: str, folder: Path) -> bool:
    """Return whether `folder` has the converted image tower of the backbone with this digest."""
    return (_place(digest, folder) / ABOUT).exists()


def converted_digest(name: str, folder: Path) -> str | None:
    """Return the digest of the tower that was last converted from a backbone of this name."""
    files = folder.glob(f"{_place('*', folder).name}/{ABOUT}")
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        about = json.loads(file.read_text("utf-8"))
        if about["name"] == name:
            return str(about["digest"])
    return None


def load_converted(name: str, digest: str, folder: Path, *, streams: int = 1) -> CompiledTower:
    """Return a tower that was converted before; see `compile_image_tower`. Imports no torch."""
    openvino = import_openvino()
    place = _place(digest, folder)
    about = json.loads((place / ABOUT).read_text("utf-8"))
    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": streams,
        "NUM_STREAMS": streams,
        # By default OpenVINO uses bfloat16 where that is faster.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(core.read_model(place / MODEL), "CPU", options)
    nbytes = (place / MODEL).with_suffix(".bin").stat().st_size
    tower = CompiledTower(name, about, compiled, nbytes)
    found = tower.encode_pixels(probe(about["image_size"]))
    difference = float(np.abs(found - np.array(about["probe_features"], np.float32)).max())
    if not difference <= MAX_DIFFERENCE:
        raise ValueError(f"its features differ from those of torch by {difference:.1e}")
    return tower


def import_openvino() -> Any:
    """Import OpenVINO. By itself its import sends usage statistics, from a fork of this process."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def probe(image_size: int) -> NDArray[np.float32]:
    """Return pixels (2, 3, H, W) whose features by torch are stored with a converted tower."""
    generator = np.random.RandomState(0)  # its numbers are the same in all versions of numpy
    return generator.uniform(-0.5, 0.5, (2, 3, image_size, image_size)).astype(np.float32)


def unit_features(features: Features, embed_dim: int) -> Features:
    """Return both parts of the rows divided by their L2 norms; as in `dspt.backbones.base`."""
    found = np.empty_like(features)
    for part in (slice(embed_dim), slice(embed_dim, None)):
        norms = np.linalg.norm(features[:, part], axis=1, keepdims=True)
        np.divide(features[:, part], np.maximum(norms, np.float32(1e-12)), out=found[:, part])
    return found


def _place(digest: str, folder: Path) -> Path:
    return folder / f"{digest}-{version('openvino')}-{_FORMAT}"


def _convert(name: str, digest: str, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".converting-") as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        # The backbone was loaded by this name, so it is valid.
        done = subprocess.run(  # nosec B603
            [sys.executable, "-P", "-m", "dspt.backbones.convert", name, digest, str(whole)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ValueError(f"it cannot be converted: {done.stderr.strip()[-2000:]}")
        try:
            whole.rename(place)
        except OSError:
            if not place.exists():  # otherwise another process was faster
                raise
