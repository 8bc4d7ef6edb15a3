"""Jobs a second of so many hosts."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.scale.cluster import Cluster
from benchmarks.scale.proof import faults, seconds_of
from benchmarks.skeleton.program import BenchmarkError

JOBS_PER_HOST = 8


def jobs_per_second(
    cluster: Cluster, hosts: int, epochs: int, harm: Callable[[list[str]], None] = lambda jobs: None
) -> float:
    """Run jobs on `hosts` worker hosts; `harm` is called once they are submitted.

    Raises BenchmarkError if a job is lost or done twice.
    """
    cluster.start(workers=hosts)
    cluster.wait(cluster.post(2 * hosts, epochs=1))  # all workers have begun to work
    jobs = cluster.post(JOBS_PER_HOST * hosts, epochs)
    harm(jobs)
    cluster.wait(jobs, 900)
    if wrong := faults(cluster, jobs):
        raise BenchmarkError("\n".join(wrong))
    return len(jobs) / seconds_of(cluster, jobs)
