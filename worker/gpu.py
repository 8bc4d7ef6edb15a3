"""Give the worker a GPU of its own, before it loads CUDA."""

from __future__ import annotations

import fcntl
import os
from collections.abc import MutableMapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import IO

_VARIABLE = "CUDA_VISIBLE_DEVICES"


class GpuError(Exception):
    """Other workers have all GPUs."""


def use_gpu(
    wanted: str,
    locks: Path,
    environment: MutableMapping[str, str] = os.environ,
    devices: Path = Path("/dev"),
) -> IO[bytes] | None:
    """Make one GPU visible to this process and those that it forks. Raises GpuError.

    wanted: a number or UUID as CUDA knows it, or `auto`: the first one that no other worker with
    the same folder of locks has; the file returned holds its lock until all these processes end. A
    machine without a GPU needs none.
    """
    if wanted != "auto":
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
    return [str(number) for number, _ in enumerate(devices.glob("nvidia[0-9]*"))]
