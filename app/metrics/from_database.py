"""Metrics that are read from the database at each scrape.

Counters in this process would miss what workers and other API processes do.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog
from prometheus_client import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.kit.context import Context

_log = structlog.get_logger(__name__)

#: Well below Prometheus's scrape timeout of 10 s, at which all metrics would be lost.
_TIMEOUT_SECONDS = 3.0

T = TypeVar("T")


class DatabaseCollector(Collector, ABC, Generic[T]):
    """One per process; close it at the end. Yields nothing while the database is unavailable."""

    name: str
    """Of the metrics, for the log."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.reports: Callable[[], bool] = lambda: True
        """Whether this process reports them; of all processes one does."""
        # Its own thread: a hanging database must not block the threads of requests.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{self.name} metrics")
        self._lock = threading.Lock()
        self._reading: Future[T] | None = None

    @abstractmethod
    def read(self, session: Session) -> T:
        """Read what the metrics need."""

    @abstractmethod
    def families(self, found: T) -> Iterator[Metric]:
        """Return the metrics of what was read."""

    def collect(self) -> Iterator[Metric]:
        if not self.reports():
            return
        with self._lock:  # concurrent scrapes share one query
            if self._reading is None or self._reading.done():
                self._reading = self._thread.submit(self._read)
            reading = self._reading
        try:
            found = reading.result(_TIMEOUT_SECONDS)
        except (TimeoutError, SQLAlchemyError) as error:
            _log.warning(f"cannot read {self.name} metrics", error=str(error) or "timeout")
            return
        yield from self.families(found)

    def close(self) -> None:
        """Abandon a hanging query."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> T:
        with self.context.database.read() as session:
            return self.read(session)
