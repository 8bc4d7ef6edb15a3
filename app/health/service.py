"""Check this process and its dependencies concurrently, with a time limit, for all callers at once.

The probes are public, so their cost must not grow with their number: a report serves all callers
for a moment, and no check writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.health.schemas import Check, Checks, Ready, WorkerCheck
from app.jobs.lifecycle.workers import alive
from app.kit.broker import BrokerNotSetError, celery_app
from app.kit.context import Context
from app.kit.pools import start_command, worker_of
from app.kit.writable import check_writable
from app.predictions.backbones import Backbones

if TYPE_CHECKING:
    from celery import Celery

_log = structlog.get_logger(__name__)
T = TypeVar("T")

#: Shorter than the interval of typical probes, so that a hanging check is reported in time.
TIMEOUT_SECONDS = 3.0
#: Age up to which a report is given to further callers.
FRESH_SECONDS = 1.0
#: For the check only: a job that waits for the broker may be more patient.
_BROKER_OPTIONS = {"socket_connect_timeout": 2, "socket_timeout": 2}


class _Probe(Generic[T]):
    """A check in its own thread. While one hangs, no second one starts."""

    def __init__(self, name: str, check: Callable[[], T]) -> None:
        self.name = name
        self._check = check
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"health {name}")
        self._running: Future[T] | None = None

    async def result(self) -> T:
        """Return the result of the check, which must not raise. Raises TimeoutError."""
        if self._running is None or self._running.done():
            self._running = self._thread.submit(self._check)
        running = asyncio.wrap_future(self._running)
        return await asyncio.wait_for(asyncio.shield(running), TIMEOUT_SECONDS)

    def close(self) -> None:
        """Abandon a hanging check."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class Health:
    """One per process. Close it at the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._celery: Celery | None = None
        self._database = _Probe("database", self._check_database)
        self._broker = _Probe("broker", self._check_broker)
        self._storage = _Probe("storage", self._check_storage)
        self._data_dir = _Probe("data directory", self._check_data_dir)
        self._workers = _Probe("workers", self._count_workers)
        self._report: asyncio.Task[Ready] | None = None
        self._reported_at = float("-inf")

    async def ready(self, backbones: Backbones) -> Ready:
        """Return a report that is at most a second old, or the one that is being made."""
        old = time.monotonic() - self._reported_at > FRESH_SECONDS
        if self._report is None or (self._report.done() and old):
            self._report = asyncio.create_task(self._make_report(backbones))
        # Shielded: a caller that disconnects must not cancel the report of the others.
        return await asyncio.shield(self._report)

    def close(self) -> None:
        """Abandon hanging checks."""
        for probe in (self._database, self._broker, self._storage, self._data_dir, self._workers):
            probe.close()
        if self._celery is not None:
            self._celery.close()

    async def _make_report(self, backbones: Backbones) -> Ready:
        try:
            cold = backbones.warm_up()
            database, broker, storage, data_dir, workers = await asyncio.gather(
                _run(self._database),
                _run(self._broker),
                _run(self._storage),
                _run(self._data_dir),
                self._worker_check(),
            )
            warm = Check(
                status="failing" if cold else "ok",
                detail="; ".join(f"{name}: {why}" for name, why in cold.items()),
            )
            checks = Checks(
                database=database,
                broker=broker,
                storage=storage,
                data_dir=data_dir,
                workers=workers,
                backbones=warm,
            )
            failing = {name for name, check in checks if check.status == "failing"}
            # Another process would not do better without the broker, or a bucket that all share;
            # and predictions need neither.
            required = {"database", "backbones"}
            if self._context.storage.is_local:
                required |= {"storage", "data_dir"}
            if self._context.settings.database_url.startswith("sqlite"):
                required.add("data_dir")  # else it has caches only
            return Ready(
                status="not_ready" if failing & required else "ready",
                checks=checks,
                degraded=sorted(failing - required),
                backbones=list(backbones.engines),
                engines=backbones.engines,
                precisions=backbones.precisions,
            )
        finally:
            self._reported_at = time.monotonic()

    # Each check returns what is wrong, or "". The text of an exception may contain a password, so
    # it goes to the log only.

    def _check_database(self) -> str:
        try:
            self._context.database.check()
        except SQLAlchemyError as error:
            _log.warning("the database does not answer", error=str(error))
            return "The database does not answer. Check DSPT_DATABASE_URL and the server."
        return ""

    def _check_broker(self) -> str:
        if not self._context.settings.broker_url:
            return str(BrokerNotSetError())
        import redis
        from kombu.exceptions import OperationalError as BrokerError

        try:
            if self._celery is None:
                self._celery = celery_app(self._context.settings)
            options = self._celery.conf.broker_transport_options | _BROKER_OPTIONS
            with self._celery.connection_for_write(transport_options=options) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
                connection.default_channel.client.ping()
        except (BrokerError, redis.RedisError, OSError) as error:
            _log.warning("the broker does not answer", error=str(error))
            return "The broker does not answer. Check DSPT_BROKER_URL and Redis."
        return ""

    def _check_storage(self) -> str:
        try:
            self._context.storage.probe()
        except Exception as error:  # noqa: BLE001 - each kind of storage has its own errors
            _log.warning("the storage is not writable", error=str(error))
            return (
                "The storage is not writable. Check DSPT_STORAGE_URL, free space and permissions."
            )
        return ""

    def _check_data_dir(self) -> str:
        try:
            check_writable(self._context.settings.data_dir)
        except OSError as error:
            _log.warning("the data directory is not writable", error=str(error))
            return (
                "The data directory is not writable. Check DSPT_DATA_DIR, free space and "
                "permissions."
            )
        return ""

    def _count_workers(self) -> dict[str, int] | None:
        """Return pool -> number of workers; None if the database does not answer."""
        try:
            with self._context.database.read() as session:
                return alive(session, self._context.settings)
        except SQLAlchemyError:
            return None

    async def _worker_check(self) -> WorkerCheck:
        try:
            running = await self._workers.result()
        except TimeoutError:
            running = None
        if running is None:
            return WorkerCheck(status="unknown", count=0, detail="The database does not answer.")
        names = [pool.name for pool in self._context.settings.pools]
        pools = dict.fromkeys(names, 0) | running
        empty = [name for name in names if not pools[name]]
        return WorkerCheck(
            status="ok" if running else "none",
            count=sum(running.values()),
            pools=pools,
            detail=" ".join(map(_no_worker, empty)),
        )


def _no_worker(pool: str) -> str:
    return (
        f"No {worker_of(pool)} is running, so jobs stay queued. Start one with "
        f"`{start_command(pool)}`."
    )


async def _run(probe: _Probe[str]) -> Check:
    try:
        problem = await probe.result()
    except TimeoutError:
        problem = f"no answer within {TIMEOUT_SECONDS:g} seconds"
    if problem:
        _log.warning("not ready", part=probe.name, problem=problem)
    return Check(status="failing" if problem else "ok", detail=problem)
