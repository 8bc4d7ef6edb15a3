"""Claim the next job, batch or comparison, and run it to its end."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog

from app.batches.lease import BatchLease
from app.comparisons.lease import ComparisonLease
from app.gc.service import collect_checkpoints
from app.jobs.lifecycle.lease import JobLease
from app.kit.context import Context
from app.leased.lease import Lease, claim_first
from worker.batch import Classification
from worker.compare import Comparing
from worker.patience import patiently
from worker.reporter import renew_lease
from worker.task import Task
from worker.telemetry import Telemetry
from worker.tune import Tuning

_log = structlog.get_logger(__name__)

_TASKS: Mapping[type[Lease[Any]], type[Task[Any, Any]]] = MappingProxyType(
    {JobLease: Tuning, BatchLease: Classification, ComparisonLease: Comparing}
)


def run_next(context: Context, worker_id: str, telemetry: Telemetry | None = None) -> bool:
    """Claim the next job, batch or comparison and run it; return False if nothing is queued.

    Raises SQLAlchemyError if the database stays unavailable for minutes: the lease then lapses, and
    the row is queued again.
    """
    lease = claim_first(context, worker_id, list(_TASKS))
    if lease is None:
        _log.info("nothing is queued")
        return False
    noun = lease.kind.noun
    ids = {f"{noun}_id": lease.id, "request_id": None, "attempt": None}
    with structlog.contextvars.bound_contextvars(**ids):
        row = patiently(lease.row)
        structlog.contextvars.bind_contextvars(request_id=row.request_id, attempt=row.attempt)
        _log.info(f"{noun} started")
        with (
            (telemetry or Telemetry()).attempt(noun, row) as attempt,
            renew_lease(lease, context.settings.heartbeat_seconds),
        ):
            attempt.outcome = _TASKS[type(lease)](lease, row, attempt).run()
        for finding in collect_checkpoints(context):
            _log.debug("deleted", what=finding.kind, name=finding.name)
    return True
