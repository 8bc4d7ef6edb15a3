"""The worker's metrics, served by its parent process, which outlives the forked ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import get_args

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from app.kit.background_loop import Loop, LoopsCollector
from app.kit.settings import Settings
from dspt.kit.progress import Stage
from worker.stats import WorkerStats

_log = structlog.get_logger(__name__)

_STAGE_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_EPOCH_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

#: Outcomes of an attempt. `lost`: the lease was lost; `abandoned`: the database became unavailable;
#: `killed`: the process died.
OUTCOMES = ("succeeded", "failed", "cancelled", "given_back", "lost", "abandoned", "killed")


class WorkerMetrics:
    """All metrics; the attributes have the names that `WorkerStats.send` uses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter("dspt_worker_attempts", "Attempts started.", registry=registry)
        self.job, self.batch, self.comparison = (
            Counter(
                f"dspt_worker_{name}",
                f"Attempts at {name} ended, by outcome; `killed`: the process died.",
                ["outcome"],
                registry=registry,
            )
            for name in ("jobs", "batches", "comparisons")
        )
        self.at_work = Gauge(
            "dspt_worker_busy", "1 while a job, batch or comparison is running.", registry=registry
        )
        self.images = Counter(
            "dspt_worker_images",
            "Images classified for batches and comparisons.",
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "dspt_worker_stage_seconds",
            "Seconds per stage of a job.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self.epoch_seconds = Histogram(
            "dspt_worker_epoch_seconds",
            "Seconds per epoch of tuning.",
            buckets=_EPOCH_BUCKETS,
            registry=registry,
        )
        self.suppressed_share = Gauge(
            "dspt_worker_suppressed_share",
            "Share of samples in the last epoch whose gradient the DSPT loss suppresses.",
            registry=registry,
        )
        self.views = Counter(
            "dspt_worker_views",
            "Image views by source of their features: `tower` encoded, `store` cached on this "
            "machine, `storage` encoded by another one.",
            ["source"],
            registry=registry,
        )
        self.gpu_bytes = Gauge(
            "dspt_worker_gpu_memory_bytes",
            "GPU memory allocated by tensors, in bytes.",
            registry=registry,
        )
        # Start at 0, so that Prometheus sees the first increment.
        for counter in (self.job, self.batch, self.comparison):
            for outcome in OUTCOMES:
                counter.labels(outcome)
        for stage in get_args(Stage):
            self.stage_seconds.labels(stage)
        for source in ("tower", "store", "storage"):
            self.views.labels(source)
        self._process: int | None = None
        #: Kind of what runs now, `job` for example.
        self._running: str | None = None
        # Of the forked process: the parent itself is idle.
        ProcessCollector(registry=registry, pid=lambda: self._process or os.getpid())

    def take(self, name: str, value: float, labels: dict[str, str]) -> None:
        """Apply one value."""
        if name == "process":
            self._new_process(int(value))
            return
        if name == "at_work":
            self._running = labels["noun"] if value else None
            labels = {}
        metric = getattr(self, name)
        if labels:
            metric = metric.labels(**labels)
        if isinstance(metric, Counter):
            metric.inc(value)
        elif isinstance(metric, Histogram):
            metric.observe(value)
        else:
            metric.set(value)

    def _new_process(self, pid: int) -> None:
        """Record a new forked process; what still runs in the previous one was killed."""
        if self._running is not None:
            getattr(self, self._running).labels("killed").inc()
        self._process, self._running = pid, None
        for gauge in (self.at_work, self.suppressed_share, self.gpu_bytes):
            gauge.set(0)


def serve(settings: Settings, stats: WorkerStats, loops: Sequence[Loop] = ()) -> None:
    """Aggregate the values, and serve them on the worker's port until this process ends."""
    assert settings.worker_metrics_port is not None
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    registry.register(LoopsCollector(loops))

    def receive() -> None:
        for stat in stats.received():
            metrics.take(*stat)

    threading.Thread(target=receive, name="stats", daemon=True).start()
    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        # Jobs matter more than metrics.
        _log.error(
            "cannot serve worker metrics on DSPT_WORKER_METRICS_PORT; each worker on a machine "
            "needs its own port",
            address=f"{host}:{port}",
            error=error.strerror,
        )
        return
    # A child that outlives this process must not block the port for the next worker.
    os.register_at_fork(after_in_child=server.socket.close)
    _log.info("serving metrics", address=f"http://{host}:{port}/metrics")
