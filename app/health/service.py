"""Check all dependencies of the API concurrently and with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import SQLAlchemyError

from app.health.schemas import Check, Checks, Ready, WorkerCheck
from app.jobs.lifecycle.workers import count_alive
from app.kit.broker import BrokerNotSetError, celery_app
from app.kit.context import Context
from app.predictions.backbones import Backbones

_log = structlog.get_logger(__name__)

#: Shorter than the interval of typical probes, so that a hanging check is reported in time.
TIMEOUT_SECONDS = 3.0


class Health:
    """One per process. Close it at the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # Its own threads: a hanging database must not block the threads of requests.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="health")
        self._celery: Celery | None = None

    async def ready(self, backbones: Backbones) -> Ready:
        """Return the report of all checks."""
        cold = backbones.warm_up()
        database, broker, storage, workers = await asyncio.gather(
            self._check("database", self._database),
            self._check("broker", self._broker),
            self._check("storage", self._storage),
            self._workers(),
        )
        warm = Check(
            status="failing" if cold else "ok",
            detail="; ".join(f"{name}: {why}" for name, why in cold.items()),
        )
        ok = all(check.status == "ok" for check in (database, broker, storage, warm))
        return Ready(
            status="ready" if ok else "not_ready",
            checks=Checks(
                database=database,
                broker=broker,
                storage=storage,
                workers=workers,
                backbones=warm,
            ),
            backbones=list(backbones.engines),
            engines=backbones.engines,
        )

    def close(self) -> None:
        """Abandon hanging checks."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._celery is not None:
            self._celery.close()

    async def _check(self, name: str, probe: Callable[[], str]) -> Check:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                problem = await loop.run_in_executor(self._threads, probe)
        except TimeoutError:
            problem = f"no answer within {TIMEOUT_SECONDS:g} seconds"
        if problem:
            _log.warning("not ready", part=name, problem=problem)
        return Check(status="failing" if problem else "ok", detail=problem)

    # Each check returns what is wrong, or "". The text of an exception may contain a password, so
    # it goes to the log only.

    def _database(self) -> str:
        try:
            self._context.database.check()
        except SQLAlchemyError as error:
            _log.warning("the database does not answer", error=str(error))
            return "The database does not answer. Check DSPT_DATABASE_URL and the server."
        return ""

    def _broker(self) -> str:
        try:
            if self._celery is None:
                self._celery = celery_app(self._context.settings)
            with self._celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
                connection.default_channel.client.ping()
        except BrokerNotSetError as error:
            return str(error)
        except (BrokerError, redis.RedisError, OSError) as error:
            _log.warning("the broker does not answer", error=str(error))
            return "The broker does not answer. Check DSPT_BROKER_URL and Redis."
        return ""

    def _storage(self) -> str:
        try:
            self._context.storage.check()
        except OSError as error:
            _log.warning("the storage is not writable", error=str(error))
            return (
                "The storage is not writable. Check DSPT_STORAGE_URL, free space and permissions."
            )
        return ""

    async def _workers(self) -> WorkerCheck:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                count = await loop.run_in_executor(self._threads, self._count_workers)
        except (TimeoutError, SQLAlchemyError):
            return WorkerCheck(status="unknown", count=0, detail="The database does not answer.")
        if count:
            return WorkerCheck(status="ok", count=count)
        return WorkerCheck(
            status="none",
            count=0,
            detail="No worker is running, so jobs stay queued. Start one with `dspt worker`.",
        )

    def _count_workers(self) -> int:
        with self._context.database.read() as session:
            return count_alive(session, self._context.settings)
