"""The worker's stats, served by its parent process, which outlives those that do the work."""

from __future__ import annotations

import os
import threading
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

from app.kit.settings import Settings
from dspt.kit.progress import Stage
from worker.stats import WorkerStats

_log = structlog.get_logger(__name__)

_STAGE_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_EPOCH_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

#: How an attempt ends. `lost`: somebody else has the job; `abandoned`: the database went away;
#: `killed`: the process that had it died.
OUTCOMES = ("succeeded", "failed", "cancelled", "given_back", "lost", "abandoned", "killed")


class WorkerMetrics:
    """What is counted; the attributes have the names that stats are sent under."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "dspt_worker_attempts", "Jobs taken up, each time one.", registry=registry
        )
        self.jobs = Counter(
            "dspt_worker_jobs",
            "Attempts that are over, by outcome; `killed`: the process that had it died.",
            ["outcome"],
            registry=registry,
        )
        self.at_work = Gauge("dspt_worker_busy", "1 while a job is at work.", registry=registry)
        self.stage_seconds = Histogram(
            "dspt_worker_stage_seconds",
            "Seconds that a stage of a job took.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self.epoch_seconds = Histogram(
            "dspt_worker_epoch_seconds",
            "Seconds that an epoch of tuning took.",
            buckets=_EPOCH_BUCKETS,
            registry=registry,
        )
        self.suppressed_share = Gauge(
            "dspt_worker_suppressed_share",
            "Share of the samples of the last epoch whose gradient the DSPT loss all but removes.",
            registry=registry,
        )
        self.views = Counter(
            "dspt_worker_views",
            "Views of images whose features were needed: `tower` encoded, `store` found in the "
            "feature store.",
            ["source"],
            registry=registry,
        )
        self.gpu_bytes = Gauge(
            "dspt_worker_gpu_memory_bytes", "GPU memory that tensors hold.", registry=registry
        )
        # From nought, or Prometheus would not see the first one of a kind come.
        for outcome in OUTCOMES:
            self.jobs.labels(outcome)
        for stage in get_args(Stage):
            self.stage_seconds.labels(stage)
        for source in ("tower", "store"):
            self.views.labels(source)
        self._process: int | None = None
        self._busy = False
        # Of the process at work: the parent itself does next to nothing.
        ProcessCollector(registry=registry, pid=lambda: self._process or os.getpid())

    def take(self, name: str, value: float, labels: dict[str, str]) -> None:
        """Add one figure."""
        if name == "process":
            self._new_process(int(value))
            return
        if name == "at_work":
            self._busy = bool(value)
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
        """It says so first of all; what its forerunner had at work died with it."""
        if self._busy:
            self.jobs.labels("killed").inc()
        self._process, self._busy = pid, False
        for gauge in (self.at_work, self.suppressed_share, self.gpu_bytes):
            gauge.set(0)


def serve(settings: Settings, stats: WorkerStats) -> None:
    """Add up what is sent, and show it on the worker's port, until this process ends."""
    assert settings.worker_metrics_port is not None
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)

    def receive() -> None:
        for figure in stats.received():
            metrics.take(*figure)

    threading.Thread(target=receive, name="figures", daemon=True).start()
    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        # Jobs are worth more than stats about them.
        _log.error(
            "the worker's stats cannot be had: DSPT_WORKER_METRICS_PORT cannot be listened on; "
            "another worker on this machine needs another port",
            address=f"{host}:{port}",
            error=error.strerror,
        )
        return
    # A process that outlives this one must not keep the port from the next worker.
    os.register_at_fork(after_in_child=server.socket.close)
    _log.info("stats for Prometheus", address=f"http://{host}:{port}/metrics")
