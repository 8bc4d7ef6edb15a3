"""Device and precision of the computations."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dspt.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Of NVIDIA's driver, of Windows' subsystem for Linux, and of AMD's driver."""


def may_have_gpu() -> bool:
    """Return False if torch cannot find a GPU here. Imports no torch, which takes seconds."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path(file).exists() for file in _GPU_FILES)


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is the first GPU, or the CPU without one.

    Raises ConfigError for a missing GPU and for other kinds of devices.
    """
    import torch

    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigError(
            f"device is {name!r} but should be auto, cpu, cuda or cuda:N", param="device"
        )
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name}, but this machine has {torch.cuda.device_count()} usable GPUs; "
            "use auto or cpu",
            param="device",
        )
    return device


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to `device`, without waiting for it where that is a GPU."""
    import torch

    if device.type == "cuda" and tensor.device.type == "cpu" and torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type == "cuda")


def moved(value: T, device: torch.device) -> T:
    """Return a copy of a dataclass with all tensors in it, also in nested ones, on `device`."""
    from torch import Tensor

    changes: dict[str, Any] = {}
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        part = getattr(value, field.name)
        if isinstance(part, Tensor):
            changes[field.name] = part.cpu() if device.type == "cpu" else sent(part, device)
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            changes[field.name] = moved(part, device)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


@contextmanager
def tf32_allowed(device: torch.device) -> Iterator[None]:
    """Let products of float32 matrices on a GPU use TensorFloat-32 (10 bits) for a while.

    It is for image towers only: on an H200 ViT-B-16 is 3.5 times as fast, and its embeddings have a
    cosine of at least 0.99999 to those in float32.
    """
    if device.type != "cuda":
        yield
        return
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def tuning_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the autocast dtype of the text tower while tuning, or None for float32.

    `auto` uses bfloat16 where it is faster: on GPUs and CPUs with native instructions for it.
    """
    import torch

    if precision == "float32":
        return None
    if precision == "bfloat16" or _has_fast_bfloat16(device):
        return torch.bfloat16
    return None


def _has_fast_bfloat16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.backends.cpu.get_cpu_capability()
    return capabilities.startswith("AVX512") and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
