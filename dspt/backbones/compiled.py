"""An image tower compiled for the processor by OpenVINO: the same features in less time."""

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
"""Most that a value of a unit-length feature may differ by, at each precision: of `f32` a thousand
times what rounding does, and far from what would change a prediction."""


def available() -> bool:
    """Whether OpenVINO is installed (`pip install openvino`)."""
    return find_spec("openvino") is not None


def compile_image_tower(
    backbone: Backbone,
    folder: Path,
    *,
    precision: Literal["f32", "bf16"] = "f32",
    streams: int | None = None,
) -> Backbone:
    """The backbone, which is on the CPU, with its image tower compiled.

    So many `streams` threads may use it at the same time, each with one core; left out: one thread,
    with all of torch's. `folder` keeps what was converted, which takes some seconds in a process
    of its own. Raises ValueError with the reason where OpenVINO cannot run the tower, or computes
    something else.
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
        raise ValueError(f"its features differ from torch's by {difference:.1e}")
    return compiled


class _CompiledTower(nn.Module):
    """(B, 3, H, W) -> (B, D) for any B."""

    def __init__(self, compiled: Any) -> None:
        super().__init__()
        self._compiled = compiled
        self._mine = threading.local()
        # Tells where the tower is, as those of all the others do.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        request = getattr(self._mine, "request", None)
        if request is None:  # each thread has its own buffers
            request = self._mine.request = self._compiled.create_infer_request()
        (features,) = request.infer(pixels.contiguous().numpy(), share_inputs=True).values()
        return torch.from_numpy(features)


_MODEL = "model.xml"


def _convert(backbone: Backbone, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".converting-") as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        # The name is one that a backbone was loaded by.
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
            if not kept.exists():  # else another process was quicker
                raise


def _read(file: Path, precision: str, streams: int | None) -> Any:
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": streams or torch.get_num_threads(),
        "NUM_STREAMS": streams or 1,
        # Left alone it rounds to half of the digits where that is faster.
        "INFERENCE_PRECISION_HINT": precision,
    }
    return core.compile_model(core.read_model(file), "CPU", options)
