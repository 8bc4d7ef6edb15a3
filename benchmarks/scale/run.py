"""Measures numbers of hosts in ascending order, then faults on the most of them."""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.scale.cluster import EPOCH, HEARTBEAT, Cluster, running_cluster
from benchmarks.scale.network import missing
from benchmarks.scale.predictions import (
    CALLERS,
    TOWER_SECONDS,
    import_models,
    predictions_per_second,
    slow_towers,
)
from benchmarks.scale.proof import JOBS_PER_HOST, jobs_per_second
from benchmarks.skeleton.program import BenchmarkError, Document, grid_progress
from tests import guard
from tests.services import wait_until

_MODELS = 100
Repair = Callable[[], object]
Fault = Callable[[Cluster], Repair]
"""Injects a fault; what it returns ends the fault."""


def measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    """Fill in the figures. Raises BenchmarkError where a job is lost or done twice."""
    reason = missing()
    if reason is not None:
        raise BenchmarkError(reason)
    guard.guard_this_process("scale")
    document["settings"] = {
        "jobs_per_host": JOBS_PER_HOST,
        "gpu_seconds": options.epochs * EPOCH,
        "heartbeat_seconds": HEARTBEAT,
        "away_seconds": options.away,
        "models": _MODELS,
        "tower_seconds": TOWER_SECONDS,
        "callers": CALLERS,
    }
    document["hosts"], document["faults"], document["predictions"] = [], [], []
    numbers = sorted(options.hosts)
    with tempfile.TemporaryDirectory(prefix="dspt-scale-") as folder, grid_progress(console) as bar:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        task = bar.add_task("starting", total=2 * len(numbers) + len(FAULTS))
        with running_cluster(Path(folder)) as cluster:
            for number in numbers:
                bar.update(task, description=f"{number} hosts")
                rate = jobs_per_second(cluster, number, options.epochs)
                document["hosts"].append({"hosts": number, "jobs_per_second": rate})
                bar.advance(task)
            for name, fault in FAULTS.items():
                bar.update(task, description=name)
                harm = partial(_injected, fault, cluster, options.away)
                rate = jobs_per_second(cluster, numbers[-1], options.epochs, harm)
                document["faults"].append({"fault": name, "jobs_per_second": rate})
                bar.advance(task)
            bar.update(task, description="predictions")
            cluster.start(apis=numbers[-1])
            models = import_models(cluster, _MODELS)
            with slow_towers(cluster):
                for number in numbers:
                    bar.update(task, description=f"predictions, {number} hosts")
                    rate = predictions_per_second(cluster, models, number)
                    document["predictions"].append(
                        {"hosts": number, "predictions_per_second": rate}
                    )
                    bar.advance(task)


def _injected(fault: Fault, cluster: Cluster, away: float, jobs: Sequence[str]) -> None:
    """Inject a fault for `away` seconds once a third of these jobs is done."""
    third = len(jobs) // 3
    wait_until(lambda: cluster.count(jobs, "succeeded") >= third, 600, "a third of the jobs")
    repair = fault(cluster)
    time.sleep(away)
    repair()


def _kill(cluster: Cluster) -> Repair:
    worker = random.choice(cluster.workers)
    worker.kill()
    return worker.start


def _cut_off(cluster: Cluster) -> Repair:
    host = random.choice(cluster.workers).host
    host.connect(up=False)
    return partial(host.connect, up=True)


def _bucket_away(cluster: Cluster) -> Repair:
    cluster.storage.freeze()
    return cluster.storage.thaw


def _redis_away(cluster: Cluster) -> Repair:
    redis = cluster.servers.redis
    redis.stop(signal.SIGKILL)  # its data are in memory only
    return redis.start


FAULTS: dict[str, Fault] = {
    "a worker host killed, and back": _kill,
    "a worker host cut off, and back": _cut_off,
    "the bucket silent": _bucket_away,
    "Redis away, and back empty": _redis_away,
}
