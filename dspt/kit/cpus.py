"""CPUs available to this process, and thread limits of numeric libraries.

Imports nothing large, because it must run before torch is imported.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

#: Read by OpenMP (torch), MKL and OpenBLAS (numpy) when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available_cpus(root: Path = Path("/")) -> int:
    """Return the number of CPUs: the affinity, limited by the CPU quota of the control group.

    A container with `--cpus 2` on a machine with 64 CPUs sees all 64, and 64 threads on 2 CPUs are
    several times slower than 2. root: parent folder of /proc and /sys.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cgroup_quota(root)
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Return the smallest quota, in CPUs, of this process's control group and its parents."""
    quotas = [
        quota
        for directory in cgroup_directories(root, "cpu")
        if (quota := _quota_v2(directory) or _quota_v1(directory)) is not None
    ]
    return min(quotas, default=None)


def set_thread_defaults(
    environment: MutableMapping[str, str] = os.environ, threads: int | None = None
) -> None:
    """Limit the numeric libraries to `threads`. Variables that are already set are kept.

    threads: Default: all available CPUs. Waiting threads sleep instead of spinning, because
    spinning made a tuning step 7 times slower on 2 CPUs shared with other processes.
    """
    for name in THREAD_VARIABLES:
        environment.setdefault(name, str(threads or available_cpus()))
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cgroup_directories(root: Path, controller: str) -> list[Path]:
    """Return the directories of this process's control groups, innermost first.

    controller: whose groups to return where version 1 is in use, such as `cpu` or `memory`.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux, or /proc is not mounted
        return []
    directories: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        inner = mount / path.lstrip("/")
        # In a container the path may be that of the host; then only the mount itself exists.
        directories += [inner, *inner.parents[: len(inner.parts) - len(mount.parts)]]
    return directories


def _quota_v2(directory: Path) -> float | None:
    try:
        quota, period = (directory / "cpu.max").read_text().split()
    except OSError:
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(directory: Path) -> float | None:
    try:
        quota = int((directory / "cpu.cfs_quota_us").read_text())
        period = int((directory / "cpu.cfs_period_us").read_text())
    except OSError:
        return None
    return quota / period if quota > 0 else None
