"""The ways to run one image tower on a CPU."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dspt.backbones import Backbone
from dspt.backbones.base import unit_features
from dspt.backbones.compiled import Precision, compile_image_tower

Encode = Callable[[Tensor], Tensor]
"""Pixels (B, 3, H, W) -> features (B, F), as `Backbone.encode_image`."""
BASELINE = "torch"


@dataclass(frozen=True)
class Engine:
    name: str
    encode: Encode | None
    """None if the engine cannot run the tower."""
    ready_seconds: float
    """From the loaded backbone to the first features."""
    reason: str = ""
    """Why the engine cannot run the tower."""


def make_engines(backbone: Backbone, folder: Path, pixels: Tensor) -> list[Engine]:
    """Return all engines after each has encoded `pixels` once; their files go to `folder`."""
    makers: dict[str, Callable[[], Encode]] = {
        BASELINE: lambda: backbone.encode_image,
        "torch, channels last": lambda: _channels_last(backbone),
        "torch, bfloat16": lambda: _rounded(backbone),
        "torch.compile": lambda: _unit(torch.compile(backbone.image_tower), backbone),
        "ONNX Runtime": lambda: _onnx(backbone, folder, pixels),
        "OpenVINO": lambda: _openvino(backbone, folder, "f32"),
        "OpenVINO, bfloat16": lambda: _openvino(backbone, folder, "bf16"),
    }
    return [_make(name, maker, pixels) for name, maker in makers.items()]


def _make(name: str, maker: Callable[[], Encode], pixels: Tensor) -> Engine:
    start = time.perf_counter()
    try:
        encode = maker()
        encode(pixels)
    except (RuntimeError, ValueError, ImportError) as error:
        return Engine(name, None, 0.0, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    return Engine(name, encode, time.perf_counter() - start)


def _unit(tower: Callable[[Tensor], Tensor], backbone: Backbone) -> Encode:
    def encode(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            return unit_features(tower(pixels).float(), backbone.embed_dim)

    return encode


def _channels_last(backbone: Backbone) -> Encode:
    tower = copy.deepcopy(backbone.image_tower).to(memory_format=torch.channels_last)
    return _unit(
        lambda pixels: tower(pixels.contiguous(memory_format=torch.channels_last)), backbone
    )


def _rounded(backbone: Backbone) -> Encode:
    def tower(pixels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            features: Tensor = backbone.image_tower(pixels)
            return features

    return _unit(tower, backbone)


def _openvino(backbone: Backbone, folder: Path, precision: Precision) -> Encode:
    threads = torch.get_num_threads()
    tower = compile_image_tower(
        backbone.name, backbone.digest, folder, precision=precision, threads=threads
    )
    return lambda pixels: torch.from_numpy(tower.encode_pixels(pixels.contiguous().numpy()))


def _onnx(backbone: Backbone, folder: Path, pixels: Tensor) -> Encode:
    import onnxruntime

    file = folder / "tower.onnx"
    torch.onnx.export(
        backbone.image_tower,
        (pixels[:2],),
        file,
        input_names=["pixels"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def tower(pixels: Tensor) -> Tensor:
        (features,) = session.run(None, {"pixels": pixels.contiguous().numpy()})
        return torch.from_numpy(features)

    return _unit(tower, backbone)
