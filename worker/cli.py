"""`dspt worker`."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from dspt.kit.cpus import set_thread_defaults

if TYPE_CHECKING:
    from app.kit.settings import Settings

#: Layers whose compiled code oneDNN keeps: 1,024 by default, which is 60 MiB more at the peak of a
#: job, and no faster.
_ONEDNN_PRIMITIVES = "16"


def worker(
    pool: Annotated[
        str | None,
        typer.Option(
            help="Pool of DSPT_POOLS whose work it takes. Default: DSPT_WORKER_POOL.",
            show_default="default",
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="GPU to use: its number or UUID, or `auto` for the first one that no other worker "
            "on the same data directory has. Default: the first one.",
        ),
    ] = None,
    exit_when_idle: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="End after so many seconds without work."),
    ] = None,
) -> None:
    """Run one worker, which tunes one job at a time, until Ctrl-C.

    It is configured by environment variables: DSPT_BROKER_URL, DSPT_DATABASE_URL, DSPT_STORAGE_URL.
    A job that runs when the worker is stopped returns to the queue.
    """
    if pool is not None:
        os.environ["DSPT_WORKER_POOL"] = pool
    # Inherited by the forked process that imports torch.
    set_thread_defaults()
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _ONEDNN_PRIMITIVES)
    # Not earlier: every command would wait for Celery.
    from celery.signals import worker_shutting_down

    from app.installation.start import prepare_or_exit
    from app.kit.broker import BrokerNotSetError
    from app.kit.command_line import settings_from
    from app.kit.logging import configure_logging
    from app.kit.pools import queue_of
    from app.kit.tracing import Tracing, TracingNotInstalled
    from worker.gpu import GpuError, use_gpu

    settings = settings_from(None)
    _check_pool(settings)
    try:
        gpu_lock = use_gpu(gpu, settings.data_dir) if gpu is not None else None
        from worker.celery_app import app, heartbeat

        Tracing(settings, "dspt-worker").close()  # the forked process has its own
    except (BrokerNotSetError, GpuError, TracingNotInstalled) as error:
        typer.echo(f"dspt worker: {error}", err=True)
        raise typer.Exit(2) from error
    configure_logging(settings)
    _in_child(lambda: prepare_or_exit("dspt worker", settings).close())
    if exit_when_idle is not None:
        from celery.signals import worker_ready

        from worker.idle import IdleExit

        idle = IdleExit(exit_when_idle, settings.worker_pool, heartbeat)
        worker_ready.connect(idle.start)
    stops: list[str] = []
    worker_shutting_down.connect(lambda how, **_: stops.append(how), weak=False)
    with gpu_lock or nullcontext():
        # Not `app.worker_main`: Celery's own command line imports a toolkit for prompts.
        runner = app.Worker(
            queues=[queue_of(settings.worker_pool)],
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        runner.start()
    # For Celery, Ctrl-C is a failure; here it is how a worker is stopped. A second one is not.
    sys.exit(0 if stops == ["Warm"] else runner.exitcode)


def _check_pool(settings: Settings) -> None:
    """Exit with status 2 if DSPT_POOLS is set and lacks this worker's pool."""
    names = [pool.name for pool in settings.pools]
    if "pools" in settings.model_fields_set and settings.worker_pool not in names:
        typer.echo(
            f"dspt worker: DSPT_POOLS has no pool {settings.worker_pool!r}. Choose one with "
            f"--pool: {', '.join(names)}.",
            err=True,
        )
        raise typer.Exit(2)


def _in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked process; exit as it does unless it succeeds.

    The client of a bucket hangs in a process forked from one that has used it, as Celery's are.
    """
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    if process.exitcode:
        raise typer.Exit(max(process.exitcode, 1))
