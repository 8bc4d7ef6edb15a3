"""The service as in production: PostgreSQL, Redis, `dspt api` and `dspt worker`, each a process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
from redis import Redis
from sqlalchemy import text

from app.access import keys
from app.kit.db import Database
from app.kit.http.rules import Scope
from app.kit.ids import LOCAL_OWNER
from app.kit.schema import migrate
from benchmarks.skeleton.program import BenchmarkError
from dspt.kit.cpus import THREAD_VARIABLES, available_cpus, set_thread_defaults
from tests import services
from tests.warm import Forked

HOST = "127.0.0.1"
_START_SECONDS, _STOP_SECONDS = 120.0, 30.0
"""An API closes its streams and a worker returns its job in less."""
_PATIENCE_SECONDS = 300.0
"""Ten times what anything takes on an idle machine."""
_NICE = {"worker": 5}
"""As in `dspt serve`: requests are waited for, jobs are not."""


class StackError(BenchmarkError):
    """The stack did not start; the message has the end of its logs."""


def wait(condition: Callable[[], object], what: str, seconds: float = _PATIENCE_SECONDS) -> None:
    """Return when `condition` holds. Raises StackError after `seconds`."""
    try:
        services.wait_until(condition, seconds, what, pause=0.2)
    except AssertionError as error:
        raise StackError(str(error)) from error


def launched(
    command: Sequence[str], environment: Mapping[str, str], log: Path, nice: int = 0
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; it ends with this process, however that ends."""
    launch = [sys.executable, "-P", "-m", "app.serve.launch", str(os.getpid()), str(nice)]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*launch, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only this process
        )


class Part:
    """`dspt COMMAND` in a process that can be stopped, killed and started again."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """The output is appended to `log`."""
        self.arguments, self.environment, self.log = arguments, dict(environment), log
        self._process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def process(self) -> subprocess.Popen[bytes] | Forked:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes] | Forked:
        command = [str(Path(sys.executable).with_name("dspt")), *self.arguments]
        return launched(command, self.environment, self.log, _NICE.get(self.arguments[0], 0))

    def wait(self) -> int:
        """Wait for its end; return the exit status. Raises subprocess.TimeoutExpired."""
        return self.process.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """Send SIGTERM; kill it if it does not end in time, such as while it compiles a tower."""
        if self.alive:
            self.process.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self, *, with_children: bool = True) -> None:
        """Send SIGKILL to the process, and to its children."""
        if with_children:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.wait()

    def kill_children(self) -> None:
        for child in self.children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def taken(self, job_id: str) -> list[str]:
        """Return the log lines of a worker that took the job, from their timestamps on."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else ()
        found = [line for line in lines if job_id in line and '"job started"' in line]
        return [line.partition('"timestamp": "')[2] for line in found]

    def children(self) -> list[int]:
        return services.children_of(self._process.pid) if self._process is not None else []


class Stack:
    """The API and the workers."""

    def __init__(self, folder: Path, environment: Mapping[str, str], workers: int) -> None:
        self.folder, self.environment = folder, environment
        self.port = int(environment["DSPT_PORT"])
        self.url = f"http://{HOST}:{self.port}"
        self.api = Part(["api"], environment, folder / "api.log")
        self.workers = [
            Part(["worker"], environment, folder / f"worker-{number}.log")
            for number in range(workers)
        ]

    @property
    def parts(self) -> list[Part]:
        return [self.api, *self.workers]

    def start(self) -> None:
        """Start all parts; return when all are ready. Raises StackError."""
        for part in self.parts:
            part.start()
        self.wait_ready()

    def start_api(self, **settings: str) -> None:
        """Start the API with more environment variables; return when it is ready."""
        self.api.stop()
        self.api.environment |= settings
        self.api.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when the API answers and all workers report. Raises StackError."""

        def settled() -> bool:
            return not all(part.alive for part in self.parts) or self._ready()

        try:
            services.wait_until(settled, _START_SECONDS, "API and workers")
        except AssertionError as error:
            raise StackError(f"{error}\n{self._last_lines()}") from error
        if not self._ready():
            raise StackError(f"API or workers ended\n{self._last_lines()}")

    def _ready(self) -> bool:
        try:
            response = httpx.get(f"{self.url}/health/ready")
        except httpx.TransportError:
            return False
        checks = response.json()["checks"] if response.is_success else {}
        return bool(checks) and checks["workers"]["count"] == len(self.workers)

    def stop(self) -> None:
        """Stop the parts that are still running."""
        for part in reversed(self.parts):
            part.stop()

    def _last_lines(self) -> str:
        logs = self.folder.glob("*.log")
        return "\n".join(log.read_text(errors="replace")[-1000:] for log in logs)


class Servers:
    """PostgreSQL, where data are not in SQLite, and Redis."""

    def __init__(
        self, cleanup: ExitStack, folder: Path, database: str, *, append_only: bool, durable: bool
    ) -> None:
        """`database`: `sqlite` or `postgresql`. `durable`: its data survive a power cut."""
        self.database: services.PostgresServer | None = None
        self.url = f"sqlite:///{folder / 'data' / 'dspt.db'}"
        if database == "postgresql":
            self.database = cleanup.enter_context(services.restartable_postgres(durable=durable))
            self.url = cleanup.enter_context(services.postgres_database(self.database.url))
        self.redis = cleanup.enter_context(services.redis_server(append_only=append_only))


class MeasuredStack(Stack):
    """A stack whose parts are watched."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], workers: int, servers: Servers
    ) -> None:
        super().__init__(folder, environment, workers)
        processes = {
            "PostgreSQL": servers.database and servers.database.process,
            "Redis": servers.redis.process,
        }
        self._servers = {name: [found.pid] for name, found in processes.items() if found}
        database = Database(servers.url)
        try:
            with database.write() as session:
                self.key = keys.create(session, "load", LOCAL_OWNER, Scope)[1]
                """May do everything."""
                postgres = str(session.scalar(text("SHOW server_version"))).split()[0]
        finally:
            database.close()
        with Redis.from_url(servers.redis.url) as client:
            self.versions = {"PostgreSQL": postgres, "Redis": client.info()["redis_version"]}

    @property
    def roots(self) -> dict[str, Sequence[int]]:
        """Ids of the first processes of each part, by name."""
        workers = [worker.process.pid for worker in self.workers]
        return {**self._servers, "API": [self.api.process.pid], "worker": workers}


@contextmanager
def running_stack(
    folder: Path,
    *,
    workers: int,
    settings: Mapping[str, str],
    threads: int | None = None,
    logs: Path | None = None,
) -> Iterator[MeasuredStack]:
    """Started and ready; stopped at the end of the block, its logs copied to `logs`.

    `settings`: variables of API and workers; `threads`: of the API. Default: as in `dspt serve`.
    Raises StackError where API or workers do not start.
    """
    with ExitStack() as cleanup:
        if logs is not None:
            cleanup.callback(keep_logs, folder, logs)
        servers = Servers(cleanup, folder, "postgresql", append_only=True, durable=True)
        environment = services.clean_environment(
            DSPT_DATA_DIR=str(folder / "data"),
            DSPT_DATABASE_URL=servers.url,
            DSPT_BROKER_URL=servers.redis.url,
            DSPT_HOST=HOST,
            DSPT_PORT=str(services.free_port()),
            DSPT_LOG_FORMAT="json",
            **settings,
        )
        migrate(servers.url)
        set_thread_defaults(environment)
        stack = MeasuredStack(folder, environment, workers, servers)
        cleanup.callback(stack.stop)
        half = max(1, available_cpus() // 2)
        stack.api.environment |= dict.fromkeys(THREAD_VARIABLES, str(threads or half))
        stack.start()
        yield stack


def keep_logs(source: Path, target: Path) -> None:
    """Copy the logs in `source` to the folder `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for log in source.glob("*.log"):
        shutil.copy(log, target)
