"""The service as in production: PostgreSQL, Redis, `dspt api` and `dspt worker`, each a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from redis import Redis
from sqlalchemy import text

from app.access import keys
from app.kit.db import Database, migrate
from app.kit.http.rules import Scope
from app.kit.ids import LOCAL_OWNER
from dspt.kit.cpus import THREAD_VARIABLES, available_cpus, set_thread_defaults
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


class Stack:
    """What runs."""

    def __init__(
        self, folder: Path, key: str, servers: Mapping[str, int], environment: Mapping[str, str]
    ) -> None:
        self.folder, self.key, self.environment = folder, key, environment
        self.port = int(environment["DSPT_PORT"])
        self.versions = _versions(environment["DSPT_DATABASE_URL"], environment["DSPT_BROKER_URL"])
        """Of the servers."""
        self.parts: dict[str, Sequence[int]] = {name: [pid] for name, pid in servers.items()}
        """Ids of the first processes of each part, by name."""
        self._api: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    @property
    def api_log(self) -> Path:
        return self.folder / "api.log"

    def start_api(self, threads: int | None, settings: Mapping[str, str]) -> None:
        """Start the API, in the place of the one that may be running, with these variables more.

        `threads`: of numeric libraries; left out, as in `dspt serve`.
        """
        if self._api is not None:
            _stop(self._api)
        environment = {**self.environment, **settings}
        if threads is not None:
            environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
        half = max(1, available_cpus() // 2)
        self._api = _start("api", environment, half, 0, self.api_log)
        self.parts["API"] = [self._api.pid]

    def start_workers(self, count: int) -> None:
        """Start workers."""
        for number in range(count):
            log = self.folder / f"worker-{number}.log"
            cpus = available_cpus()
            self._workers.append(_start("worker", self.environment, cpus, _WORKER_NICE, log))
        if self._workers:
            self.parts["worker"] = [worker.pid for worker in self._workers]

    def wait_ready(self) -> None:
        """Returns when the API answers and all workers report. Raises StackError."""
        try:
            wait_until(self._settled, _START_SECONDS, "API and workers")
        except AssertionError as error:
            raise StackError(f"{error}\n{_last_lines(self.folder)}") from error
        if not self._ready():
            raise StackError(f"API or workers ended\n{_last_lines(self.folder)}")

    def _settled(self) -> bool:
        started = [*self._workers, *([self._api] if self._api is not None else [])]
        return any(process.poll() is not None for process in started) or self._ready()

    def _ready(self) -> bool:
        return _workers(self.port) == len(self._workers)

    def stop(self) -> None:
        """Stop the API and the workers."""
        for process in [*self._workers, *([self._api] if self._api is not None else [])]:
            _stop(process)


@contextmanager
def running_stack(
    folder: Path,
    *,
    workers: int,
    settings: Mapping[str, str],
    threads: int | None = None,
    logs: Path | None = None,
) -> Iterator[Stack]:
    """Started and ready; stopped at the end of the block, its logs copied to `logs`.

    `settings`: variables of API and workers; `threads`: of the API, left out as in `dspt serve`.
    Raises StackError where API or workers do not come up.
    """
    with ExitStack() as cleanup:
        if logs is not None:
            cleanup.callback(_keep_logs, folder, logs)
        postgres = cleanup.enter_context(restartable_postgres(durable=True))
        url = cleanup.enter_context(postgres_database(postgres.url))
        redis = cleanup.enter_context(redis_server())
        assert postgres.process is not None
        assert redis.process is not None
        key = _make_key(url)
        environment = clean_environment(
            DSPT_DATA_DIR=str(folder / "data"),
            DSPT_DATABASE_URL=url,
            DSPT_BROKER_URL=redis.url,
            DSPT_HOST=HOST,
            DSPT_PORT=str(free_port()),
            DSPT_LOG_FORMAT="json",
            **settings,
        )
        servers = {"PostgreSQL": postgres.process.pid, "Redis": redis.process.pid}
        stack = Stack(folder, key, servers, environment)
        cleanup.callback(stack.stop)
        stack.start_api(threads, {})
        stack.start_workers(workers)
        stack.wait_ready()
        yield stack


def _make_key(url: str) -> str:
    """One that may do everything."""
    migrate(url)
    database = Database(url)
    try:
        with database.write() as session:
            return keys.create(session, "load", LOCAL_OWNER, Scope)[1]
    finally:
        database.close()


def _start(
    command: str, environment: Mapping[str, str], threads: int, nice: int, log: Path
) -> subprocess.Popen[bytes]:
    """Start `dspt COMMAND`; it ends with this process, however that ends."""
    own = dict(environment)
    set_thread_defaults(own, threads)
    dspt = str(Path(sys.executable).with_name("dspt"))
    launch = [sys.executable, "-P", "-m", "app.serve.launch", str(os.getpid()), str(nice)]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*launch, dspt, command],
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # a Ctrl-C comes to us, and the block's end stops it
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:  # an API that is just compiling a tower, for instance
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _workers(port: int) -> int:
    """How many report; -1 while the API is not ready."""
    try:
        response = httpx.get(f"http://{HOST}:{port}/health/ready")
    except httpx.TransportError:
        return -1
    count: int = response.json()["checks"]["workers"]["count"] if response.is_success else -1
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
