"""Celery's task. The work is done in worker.run, which is imported in the forked process only."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy.exc import SQLAlchemyError

from app.kit.broker import RUN_JOB
from app.kit.context import Context
from app.kit.tracing import Tracing
from worker.celery_app import app, heartbeat, settings, stats
from worker.telemetry import Telemetry


@lru_cache(maxsize=1)
def _context() -> Context:
    """Opened after the fork, once per process."""
    return Context.open(settings)


@lru_cache(maxsize=1)
def _telemetry() -> Telemetry:
    return Telemetry(stats, Tracing(settings, "dspt-worker"))


# A database that is away is waited for; a job that had begun by then is the reaper's.
@app.task(  # type: ignore[untyped-decorator]
    name=RUN_JOB,
    autoretry_for=(SQLAlchemyError,),
    retry_kwargs={"max_retries": 20, "countdown": 5},
)
def run_job(job_id: str) -> None:
    """Run one job. A message that comes twice, or too late, does nothing."""
    from worker.run import run

    run(_context(), job_id, heartbeat.worker_id, _telemetry())
