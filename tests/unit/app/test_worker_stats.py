"""The line from the process that works to its parent, and what the parent makes of it."""

from __future__ import annotations

import os
import socket
from itertools import islice

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from app.kit.settings import Settings
from worker.metrics import WorkerMetrics, serve
from worker.stats import NullStats, WorkerStats


def test_values_arrive_complete_and_in_order() -> None:
    stats = WorkerStats()
    stats.send("attempts")
    stats.send("job", outcome="cancelled")
    stats.send("epoch_seconds", 0.25)
    assert list(islice(stats.received(), 3)) == [
        ("attempts", 1, {}),
        ("job", 1, {"outcome": "cancelled"}),
        ("epoch_seconds", 0.25, {}),
    ]


def test_a_hanging_parent_blocks_no_job() -> None:
    stats = WorkerStats()
    for _ in range(10_000):
        stats.send("views", 1, source="tower")
    received = list(islice(stats.received(), 500))
    assert received == [("views", 1, {"source": "tower"})] * 500
    NullStats().send("views", 1, source="tower")


def test_a_process_killed_during_a_job_is_counted() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"dspt_worker_{name}", labels)

    metrics.take("process", os.getpid(), {})
    for noun in ("job", "job", "batch"):
        metrics.take("at_work", 1, {"noun": noun})
        metrics.take("suppressed_share", 0.5, {})
        metrics.take("views", 3, {"source": "store"})
        metrics.take("process", os.getpid(), {})
        metrics.take("process", os.getpid(), {})  # it had nothing at work yet
    assert value("jobs_total", outcome="killed") == 2
    assert value("batches_total", outcome="killed") == 1
    assert value("jobs_total", outcome="succeeded") == 0
    assert value("views_total", source="store") == 9
    assert value("busy") == value("suppressed_share") == 0


def test_a_worker_runs_even_if_its_metrics_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as logs:
        settings = Settings(worker_metrics_port=taken.getsockname()[1])
        serve(settings, WorkerStats())
    [line] = logs
    assert line["log_level"] == "error"
    assert "DSPT_WORKER_METRICS_PORT" in line["event"]
