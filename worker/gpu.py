"""Give the worker a GPU of its own, before it loads CUDA."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import MutableMapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import IO

_VARIABLE = "CUDA_VISIBLE_DEVICES"
#: Of Windows' subsystem for Linux, of AMD's driver and of NVIDIA's on small boards, which have no
#: file for each GPU.
_NOT_COUNTED = ("dxg", "kfd", "nvmap")
#: Of NVIDIA's driver, which may make the files of the GPUs only when CUDA asks for one.
_DRIVER = Path("/proc/driver/nvidia")


class GpuError(Exception):
    """There is no such GPU, or other workers have all of them."""


def use_gpu(
    wanted: str,
    locks: Path,
    environment: MutableMapping[str, str] = os.environ,
    devices: Path = Path("/dev"),
    driver: Path = _DRIVER,
) -> IO[bytes] | None:
    """Make one GPU visible to this process and those that it forks. Raises GpuError.

    wanted: a number or UUID as CUDA knows it, or `auto`: the first one that no other worker with
    the same folder of locks has; the file returned holds its lock until all these processes end. A
    machine without a GPU needs none.
    """
    if wanted != "auto":
        _check(wanted, devices, driver)
        environment[_VARIABLE] = wanted
        return None
    gpus = _gpus(environment, devices)
    if not gpus:
        return None
    locks.mkdir(parents=True, exist_ok=True)
    for gpu in gpus:
        lock = (locks / f"gpu-{gpu.replace('/', '-')}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            environment[_VARIABLE] = gpu
            return lock
    raise GpuError(
        f"--gpu auto: other workers have all {len(gpus)} GPUs of this machine ({', '.join(gpus)}). "
        "Stop one, or start fewer."
    )


def _gpus(environment: MutableMapping[str, str], devices: Path) -> Sequence[str]:
    """Return the GPUs that this process may use. NVML and CUDA are not needed for that."""
    if (visible := environment.get(_VARIABLE)) is not None:
        names = [gpu.strip() for gpu in visible.split(",")]
        return list(takewhile(lambda gpu: gpu not in ("", "-1"), names))  # as CUDA reads them
    return list(map(str, range(_count(devices))))


def _check(gpu: str, devices: Path, driver: Path) -> None:
    """Raise GpuError if the machine cannot have this GPU. NVML and CUDA are not needed for that."""
    if not re.fullmatch(r"[0-9]{1,4}|(GPU|MIG)-\S+", gpu):
        raise GpuError(
            f"--gpu {gpu}: must be the number of a GPU, its UUID (GPU-... or MIG-...), or auto."
        )
    if any((devices / name).exists() for name in _NOT_COUNTED):
        return
    count = _count(devices)
    if not count and driver.exists():
        return
    if not count:
        raise GpuError(f"--gpu {gpu}: this machine has no GPU. Without --gpu it uses the CPU.")
    if gpu.isdecimal() and int(gpu) >= count:
        there = "its only GPU is 0" if count == 1 else f"its {count} GPUs are 0 to {count - 1}"
        raise GpuError(f"--gpu {gpu}: this machine has no such GPU; {there}.")


def _count(devices: Path) -> int:
    return len(list(devices.glob("nvidia[0-9]*")))
