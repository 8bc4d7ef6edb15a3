"""Jobs by state, and who is there to work on them: read from the database when Prometheus asks.

A count that the API kept itself would miss what workers and other processes of the API do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from dspt_client.schemas.status import Status
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.lifecycle import workers
from app.kit.context import Context
from app.tables.jobs import Job, OutboxEntry

_log = structlog.get_logger(__name__)

#: Prometheus gives up after ten, and would lose all other figures too.
_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True)
class _Figures:
    by_status: dict[str, int]
    unsent: int
    workers: int


class JobsCollector(Collector):
    """One per process; close it at the end. Gives nothing while the database does not answer."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Its own thread: a database that hangs must not take those of the requests.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="job figures")
        self._lock = threading.Lock()
        self._reading: Future[_Figures] | None = None

    def collect(self) -> Iterator[Metric]:
        with self._lock:  # all who ask at this moment, and after a hang, wait for the same answer
            if self._reading is None or self._reading.done():
                self._reading = self._thread.submit(self._read)
            reading = self._reading
        try:
            figures = reading.result(_TIMEOUT_SECONDS)
        except (TimeoutError, SQLAlchemyError) as error:
            _log.warning("jobs cannot be counted", error=str(error) or "no answer in time")
            return
        jobs = GaugeMetricFamily(
            "dspt_jobs", "Jobs that there are, by state; `queued` wait.", labels=["status"]
        )
        for status in Status:
            jobs.add_metric([status], figures.by_status.get(status, 0))
        yield jobs
        yield GaugeMetricFamily(
            "dspt_jobs_unsent", "Queued jobs that the broker was not told of yet.", figures.unsent
        )
        yield GaugeMetricFamily("dspt_workers", "Workers that reported lately.", figures.workers)

    def close(self) -> None:
        """Leave a hanging look behind."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> _Figures:
        with self._context.database.read() as session:
            by_status = session.execute(select(Job.status, func.count()).group_by(Job.status))
            unsent = select(func.count()).where(OutboxEntry.sent_at.is_(None))
            return _Figures(
                dict(iter(by_status)),
                session.scalar(unsent) or 0,
                workers.count_alive(session, self._context.settings),
            )
