"""Device and precision of the computations."""

from __future__ import annotations

import re

import torch

from dspt.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is the first GPU, or the CPU without one.

    Raises ConfigError for a missing GPU and for other kinds of devices.
    """
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


def tuning_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the autocast dtype of the text tower while tuning, or None for float32.

    `auto` uses bfloat16 where it is faster: on GPUs and CPUs with native instructions for it.
    """
    if precision == "float32":
        return None
    if precision == "bfloat16" or _has_fast_bfloat16(device):
        return torch.bfloat16
    return None


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.backends.cpu.get_cpu_capability()
    return capabilities.startswith("AVX512") and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
