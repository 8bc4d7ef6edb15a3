"""Metrics of jobs, batches, comparisons and workers, read from the database at each scrape.

Counters in this process would miss what workers and other API processes do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from dspt_client.schemas.status import RunStatus, Status
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.lifecycle import workers
from app.kit.context import Context
from app.tables.batches import Batch
from app.tables.comparisons import Comparison
from app.tables.jobs import Job, OutboxEntry

_log = structlog.get_logger(__name__)

#: Well below Prometheus's scrape timeout of 10 s, at which all metrics would be lost.
_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True)
class _Counts:
    by_status: dict[str, dict[str, int]]
    """Name of a table -> status -> number."""
    unsent: int
    workers: int


class JobsCollector(Collector):
    """One per process; close it at the end. Yields nothing while the database is unavailable."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Its own thread: a hanging database must not block the threads of requests.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="job counts")
        self._lock = threading.Lock()
        self._reading: Future[_Counts] | None = None

    def collect(self) -> Iterator[Metric]:
        with self._lock:  # concurrent scrapes share one query
            if self._reading is None or self._reading.done():
                self._reading = self._thread.submit(self._read)
            reading = self._reading
        try:
            counts = reading.result(_TIMEOUT_SECONDS)
        except (TimeoutError, SQLAlchemyError) as error:
            _log.warning("cannot read job metrics", error=str(error) or "timeout")
            return
        for name, by_status in counts.by_status.items():
            family = GaugeMetricFamily(
                f"dspt_{name}",
                f"{name.capitalize()} by state; `queued` ones wait for a worker.",
                labels=["status"],
            )
            for status in Status if name == "jobs" else RunStatus:
                family.add_metric([status], by_status.get(status, 0))
            yield family
        yield GaugeMetricFamily(
            "dspt_jobs_unsent",
            "Queued jobs, batches and comparisons not yet sent to the broker.",
            counts.unsent,
        )
        yield GaugeMetricFamily("dspt_workers", "Workers with a recent heartbeat.", counts.workers)

    def close(self) -> None:
        """Abandon a hanging query."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> _Counts:
        with self._context.database.read() as session:
            by_status = {
                table.__tablename__: dict(
                    iter(session.execute(select(table.status, func.count()).group_by(table.status)))
                )
                for table in (Job, Batch, Comparison)
            }
            unsent = select(func.count()).where(OutboxEntry.sent_at.is_(None))
            queued = (
                select(func.count()).where(table.status == Status.QUEUED, table.sent_at.is_(None))
                for table in (Batch, Comparison)
            )
            return _Counts(
                by_status,
                sum(session.scalar(query) or 0 for query in (unsent, *queued)),
                workers.count_alive(session, self._context.settings),
            )
