"""Metrics of jobs, batches, comparisons and workers, read from the database at each scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dspt_client.schemas.status import RunStatus, Status
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.jobs.lifecycle import workers
from app.jobs.lifecycle.queued import queued_by_pool
from app.metrics.from_database import DatabaseCollector
from app.tables.batches import Batch
from app.tables.comparisons import Comparison
from app.tables.jobs import Job, OutboxEntry


@dataclass(frozen=True)
class _Counts:
    by_status: dict[str, dict[str, int]]
    """Name of a table -> status -> number."""
    unsent: int
    queued: dict[str, int]
    """Pool -> number of queued jobs, batches and comparisons."""
    workers: dict[str, int]


class JobsCollector(DatabaseCollector[_Counts]):
    """One per process; close it at the end. Yields nothing while the database is unavailable."""

    name = "job"

    def families(self, found: _Counts) -> Iterator[Metric]:
        for name, by_status in found.by_status.items():
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
            found.unsent,
        )
        yield self._by_pool(
            "dspt_queued", "Queued jobs, batches and comparisons by pool.", found.queued
        )
        yield self._by_pool(
            "dspt_workers", "Workers with a recent heartbeat, by pool.", found.workers
        )

    def read(self, session: Session) -> _Counts:
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
            queued_by_pool(session),
            workers.alive(session, self.context.settings),
        )

    def _by_pool(self, name: str, documentation: str, values: Mapping[str, int]) -> Metric:
        """Return a metric of all configured pools, and of others with a value."""
        family = GaugeMetricFamily(name, documentation, labels=["pool"])
        pools = dict.fromkeys((pool.name for pool in self.context.settings.pools), 0)
        for pool, value in (pools | dict(values)).items():
            family.add_metric([pool], value)
        return family
