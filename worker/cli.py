"""`dspt worker`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import typer

from dspt.kit.cpus import set_thread_defaults


def worker() -> None:
    """Run one worker, which tunes one job at a time, until Ctrl-C.

    It is configured by environment variables: DSPT_BROKER_URL, DSPT_DATABASE_URL, DSPT_STORAGE_URL.
    A job that runs when the worker is stopped returns to the queue.
    """
    set_thread_defaults()  # inherited by the forked process that imports torch
    # Not earlier: every command would wait for Celery.
    from app.installation.start import prepare_or_exit
    from app.kit.broker import BrokerNotSetError
    from app.kit.logging import configure_logging
    from app.kit.tracing import Tracing, TracingNotInstalled

    try:
        from worker.celery_app import app, settings

        Tracing(settings, "dspt-worker").close()  # the forked process has its own
    except (BrokerNotSetError, TracingNotInstalled) as error:
        typer.echo(f"dspt worker: {error}", err=True)
        raise typer.Exit(2) from error
    configure_logging(settings)
    _in_child(lambda: prepare_or_exit("dspt worker", settings).close())
    app.worker_main(
        ["--quiet", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    )


def _in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked process; exit as it does unless it succeeds.

    The client of a bucket hangs in a process forked from one that has used it, as Celery's are.
    """
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    if process.exitcode:
        raise typer.Exit(max(process.exitcode, 1))
