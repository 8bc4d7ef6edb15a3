"""The service as in production: PostgreSQL, Redis, `dspt api` and `dspt worker`, each a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from redis import Redis
from sqlalchemy import text

from app.access import keys
from app.access.caller import Scope
from app.kit.db import Database, migrate
from app.kit.ids import LOCAL_OWNER
from dspt.cpus import available_cpus, set_thread_defaults
from tests.services import (
    clean_environment,
    free_port,
    postgres_database,
    redis_server,
    restartable_postgres,
    wait_until,
)

HOST = "127.0.0.1"
#: As `dspt serve` has it: requests are waited for, jobs are not.
_WORKER_NICE = 5
_START_SECONDS, _STOP_SECONDS = 120.0, 30.0


class StackError(Exception):
    """The stack did not come up; the message has the end of its logs."""


@dataclass(frozen=True)
class Stack:
    """What runs."""

    port: int
    key: str
    """An API key that may do everything."""
    parts: Mapping[str, Sequence[int]]
    """Ids of the first processes of each part, by name."""
    versions: Mapping[str, str]
    """Of the servers."""


@contextmanager
def running_stack(
    folder: Path, *, workers: int, requests_per_minute: int, listeners: int, logs: Path | None
) -> Iterator[Stack]:
    """Started and ready; stopped at the end of the block, its logs copied to `logs`.

    Raises StackError where API or workers do not come up.
    """
    with ExitStack() as cleanup:
        if logs is not None:
            cleanup.callback(_keep_logs, folder, logs)
        postgres = cleanup.enter_context(restartable_postgres(durable=True))
        url = cleanup.enter_context(postgres_database(postgres.url))
        redis = cleanup.enter_context(redis_server())
        key = _make_key(url)
        port = free_port()
        environment = clean_environment(
            DSPT_DATA_DIR=str(folder / "data"),
            DSPT_DATABASE_URL=url,
            DSPT_BROKER_URL=redis.url,
            DSPT_HOST=HOST,
            DSPT_PORT=str(port),
            DSPT_LOG_FORMAT="json",
            DSPT_REQUESTS_PER_MINUTE=str(requests_per_minute),
            DSPT_MAX_LISTENERS=str(listeners),
        )
        cpus = available_cpus()
        api = _start(cleanup, "api", environment, max(1, cpus // 2), 0, folder / "api.log")
        worker_processes = [
            _start(
                cleanup, "worker", environment, cpus, _WORKER_NICE, folder / f"worker-{number}.log"
            )
            for number in range(workers)
        ]
        try:
            wait_until(lambda: _workers(port) == workers, _START_SECONDS, "API and workers")
        except AssertionError as error:
            raise StackError(f"{error}\n{_last_lines(folder)}") from error
        assert postgres.process is not None
        assert redis.process is not None
        yield Stack(
            port,
            key,
            {
                "API": [api],
                "worker": worker_processes,
                "PostgreSQL": [postgres.process.pid],
                "Redis": [redis.process.pid],
            },
            _versions(url, redis.url),
        )


def _make_key(url: str) -> str:
    migrate(url)
    database = Database(url)
    try:
        with database.write() as session:
            return keys.create(session, "load", LOCAL_OWNER, Scope)[1]
    finally:
        database.close()


def _start(
    cleanup: ExitStack,
    command: str,
    environment: Mapping[str, str],
    threads: int,
    nice: int,
    log: Path,
) -> int:
    """Start `dspt COMMAND`; it ends with this process, however that ends. Gives its id."""
    own = dict(environment)
    set_thread_defaults(own, threads)
    dspt = str(Path(sys.executable).with_name("dspt"))
    launch = [sys.executable, "-m", "app.serve.launch", str(os.getpid()), str(nice)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*launch, dspt, command],
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # a Ctrl-C comes to us, and the block's end stops it
        )
    cleanup.callback(_stop, process)
    return process.pid


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _workers(port: int) -> int:
    """How many report; none while the API is not ready."""
    try:
        response = httpx.get(f"http://{HOST}:{port}/health/ready")
    except httpx.TransportError:
        return 0
    count: int = response.json()["checks"]["workers"]["count"] if response.is_success else 0
    return count


def _versions(database_url: str, broker_url: str) -> dict[str, str]:
    database = Database(database_url)
    try:
        with database.read() as session:
            postgres = str(session.scalar(text("SHOW server_version")))
    finally:
        database.close()
    with Redis.from_url(broker_url) as client:
        return {"PostgreSQL": postgres.split()[0], "Redis": client.info()["redis_version"]}


def _last_lines(folder: Path) -> str:
    return "\n".join(log.read_text(errors="replace")[-1000:] for log in folder.glob("*.log"))


def _keep_logs(folder: Path, logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, logs)
