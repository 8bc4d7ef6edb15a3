"""Compile an image tower for the CPU with OpenVINO: the same features in less time."""

from __future__ import annotations

import subprocess  # only a program of this package is started  # nosec B404
import sys
import tempfile
import threading
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dspt.backbones.base import Backbone

MAX_DIFFERENCE = {"f32": 1e-3, "bf16": 3e-2}
"""Largest allowed difference of a value of a unit-length feature, by precision. For `f32` it is a
thousand times the rounding error, and far too small to change a prediction."""


def available() -> bool:
    """Return whether OpenVINO is installed (`pip install openvino`)."""
    return find_spec("openvino") is not None


def compile_image_tower(
    backbone: Backbone,
    folder: Path,
    *,
    precision: Literal["f32", "bf16"] = "f32",
    streams: int | None = None,
) -> Backbone:
    """Return the backbone, which must be on the CPU, with its image tower compiled.

    folder: cache of converted towers. Converting takes some seconds in a separate process.
    streams: number of threads that may use the tower at the same time, with one core each.
    Default: one thread that uses all of torch's threads.

    Raises ValueError if OpenVINO cannot run the tower or gives different features.
    """
    kept = folder / f"{backbone.digest}-{version('openvino')}"
    if not kept.exists():
        _convert(backbone, kept)
    tower = _CompiledTower(_read(kept / _MODEL, precision, streams))
    compiled = replace(
        backbone,
        image_tower=tower,
        engine="openvino",
        compiled_bytes=(kept / _MODEL).with_suffix(".bin").stat().st_size,
    )
    size = backbone.image_size
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) - 0.5
    expected, found = (each.encode_image(pixels) for each in (backbone, compiled))
    difference = float((expected - found).abs().max())
    if not difference <= MAX_DIFFERENCE[precision]:
        raise ValueError(f"its features differ from those of torch by {difference:.1e}")
    return compiled


class _CompiledTower(nn.Module):
    """(B, 3, H, W) -> (B, D) for any B."""

    def __init__(self, compiled: Any) -> None:
        super().__init__()
        self._compiled = compiled
        self._local = threading.local()
        # Backbone.device reads the device of the first parameter.
        self.device_marker = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        request = getattr(self._local, "request", None)
        if request is None:  # one per thread: it holds the buffers
            request = self._local.request = self._compiled.create_infer_request()
        (features,) = request.infer(pixels.contiguous().numpy(), share_inputs=True).values()
        return torch.from_numpy(features)


_MODEL = "model.xml"


def _convert(backbone: Backbone, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".converting-") as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        # The backbone was loaded by this name, so it is valid.
        done = subprocess.run(  # nosec B603
            [
                *(sys.executable, "-P", "-m", "dspt.backbones.convert"),
                *(backbone.name, str(whole / _MODEL)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ValueError(f"it cannot be converted: {done.stderr.strip()[-2000:]}")
        try:
            whole.rename(kept)
        except OSError:
            if not kept.exists():  # otherwise another process was faster
                raise


def import_openvino() -> Any:
    """Import OpenVINO. By itself its import sends usage statistics, from a fork of this process."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _read(file: Path, precision: str, streams: int | None) -> Any:
    openvino = import_openvino()
    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": streams or torch.get_num_threads(),
        "NUM_STREAMS": streams or 1,
        # By default OpenVINO uses bfloat16 where that is faster.
        "INFERENCE_PRECISION_HINT": precision,
    }
    return core.compile_model(core.read_model(file), "CPU", options)
