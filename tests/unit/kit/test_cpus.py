"""CPU limits as control groups state them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dspt.kit.cpus import available_cpus, cgroup_quota, set_thread_defaults


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_v2_takes_the_tightest_of_the_group_and_those_above(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/cpu.max": "max 100000\n",
        },
    )
    assert cgroup_quota(root) == 1.5


def test_v2_in_a_container_whose_path_is_the_hosts(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/0123\n",
            "sys/fs/cgroup/cpu.max": "200000 100000\n",
        },
    )
    assert cgroup_quota(root) == 2.0


def test_v1(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/x\n2:memory:/x\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cgroup_quota(root) == 0.5


@pytest.mark.parametrize("files", [{}, {"proc/self/cgroup": "0::/\n"}])
def test_no_quota(tmp_path: Path, files: dict[str, str]) -> None:
    assert cgroup_quota(write(tmp_path, files)) is None


@pytest.mark.parametrize(("quota", "expected"), [("50000", 1), ("100000", 1), ("max", None)])
def test_available_is_at_least_one_and_at_most_the_affinity(
    tmp_path: Path, quota: str, expected: int | None
) -> None:
    root = write(
        tmp_path,
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{quota} 100000\n"},
    )
    affinity = len(os.sched_getaffinity(0))
    assert available_cpus(root) == (affinity if expected is None else expected)


def test_a_quota_that_is_no_whole_number_is_rounded_up(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "110000 100000\n"},
    )
    assert available_cpus(root) == min(2, len(os.sched_getaffinity(0)))


def test_threads_that_the_user_has_set_stay() -> None:
    environment = {"OMP_NUM_THREADS": "7"}
    set_thread_defaults(environment, 2)
    assert environment == {
        "OMP_NUM_THREADS": "7",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
