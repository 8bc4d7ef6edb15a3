"""The Celery application of the worker, and the hooks of its parent process.

The parent must not import torch: a CUDA context does not survive a fork. The forked process imports
it for its first job, and ends when it has rested or run enough jobs; the parent forks another one.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from app.kit.broker import celery_app
from app.kit.logging import configure_logging
from app.kit.scratch import make_scratch
from app.kit.settings import get_settings
from worker.heartbeat import WorkerHeartbeat
from worker.logs import drop_task_data
from worker.stats import NullStats, WorkerStats

settings = get_settings()
heartbeat = WorkerHeartbeat(settings)
#: Shared by both processes: the forked one sends, this one aggregates.
stats = WorkerStats() if settings.worker_metrics_port is not None else NullStats()
app = celery_app(settings)
app.conf.imports = ["worker.tasks"]
app.conf.worker_max_tasks_per_child = settings.worker_jobs_per_process
app.set_default()


def _setup_logging(**_: Any) -> None:
    configure_logging(settings, drop_task_data)


setup_logging.connect(_setup_logging)


def _freeze(**_: Any) -> None:
    """Keep the pages of what was imported shared: a collection would write to them."""
    gc.freeze()


worker_init.connect(_freeze)


def _begin(**_: Any) -> None:
    """Prepare the forked process."""
    stats.send("process", os.getpid())
    make_scratch(settings.scratch_dir)


worker_process_init.connect(_begin)


def _end(exitcode: int, **_: Any) -> None:
    """End the forked process at once.

    Its results have been received. Billiard would tell the parent that it ends, which the parent
    sees anyway, and then sleep for a second.
    """
    os._exit(exitcode)


worker_process_shutdown.connect(_end)


def _ready(**_: Any) -> None:
    heartbeat.start()
    if settings.worker_metrics_port is not None:
        from worker.metrics import serve

        serve(settings, stats, [heartbeat.loop])


worker_ready.connect(_ready)


def _shutting_down(**_: Any) -> None:
    heartbeat.stopping()


worker_shutting_down.connect(_shutting_down)


def _gone(**_: Any) -> None:
    heartbeat.leave()


worker_shutdown.connect(_gone)
