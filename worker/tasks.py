"""The Celery task. worker.run is imported in the forked process only, for its first job."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy.exc import SQLAlchemyError

from app.kit.broker import RUN_JOB
from app.kit.context import Context
from app.kit.tracing import Tracing
from worker.celery_app import app, heartbeat, settings, stats
from worker.rest import rest_after
from worker.telemetry import Telemetry

#: The job, the renewal of its lease, and one to spare; the parent's heartbeat has its own.
_MOST_CONNECTIONS = 3


@lru_cache(maxsize=1)
def _context() -> Context:
    """Open the context after the fork, once per process."""
    return Context.open(settings, most_connections=_MOST_CONNECTIONS)


@lru_cache(maxsize=1)
def _telemetry() -> Telemetry:
    return Telemetry(stats, Tracing(settings, "dspt-worker"))


# Retries while the database is unavailable; a job that had started is left to the reaper.
@app.task(  # type: ignore[untyped-decorator]
    name=RUN_JOB,
    Request="worker.request:Acknowledged",
    autoretry_for=(SQLAlchemyError,),
    retry_kwargs={"max_retries": 20, "countdown": 5},
)
def run_job(_job_id: str) -> None:
    """Run whatever is next, which need not be what the message was sent for."""
    from worker.run import run_next

    with rest_after(settings.worker_rest_seconds):
        run_next(_context(), heartbeat.worker_id, _telemetry())
