"""The service as it runs in production, each part a process of its own that may be hurt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import select

from app.jobs.state import TERMINAL
from app.jobs.tables import Job
from app.kit.broker import QUEUE, RUN_JOB, celery_app
from app.kit.context import Context
from app.kit.settings import Settings
from benchmarks.fault_drills.client import Client
from benchmarks.fault_drills.processes import Part
from tests.services import (
    PostgresServer,
    RedisServer,
    clean_environment,
    free_port,
    postgres_database,
    redis_server,
    restartable_postgres,
    wait_until,
)

HOUSEKEEPING = 0.1
QUICK_HEARTBEAT = 1.0
"""Where workers die: their jobs are taken back after two and a half of these."""


@dataclass(frozen=True)
class Shape:
    """What a drill wants of its stack."""

    workers: int = 2
    """With one to spare, a job need not wait until a killed one has started again."""
    append_only: bool = True
    """Redis keeps its data."""
    heartbeat: float = 3.0
    """Seconds; long, so that a live worker on a busy machine is never taken for dead."""
    environment: Callable[[Path], Mapping[str, str]] = lambda folder: {}
    """More variables for API and workers, which may name files in the folder."""
    prepare: Callable[[Settings, ExitStack], None] = lambda settings, cleanup: None
    """Called before anything is started."""
    part: Callable[[Sequence[str], Mapping[str, str], Path], Part] = Part
    """Runs a command with these variables and this log."""


class Stack:
    """All parts of one running service, and a look behind them at database and storage."""

    def __init__(
        self,
        shape: Shape,
        settings: Settings,
        database: PostgresServer | None,
        redis: RedisServer,
        folder: Path,
    ) -> None:
        self.settings, self.database, self.redis, self.folder = settings, database, redis, folder
        self.context = Context.open(settings)
        self.client = Client(f"http://127.0.0.1:{settings.port}")
        self._environment = clean_environment(
            DSPT_PREDICT_ENGINE="torch",  # to compile an image tower takes seconds
            **{
                f"DSPT_{name.upper()}": str(getattr(settings, name))
                for name in settings.model_fields_set
            },
            OMP_NUM_THREADS="1",
            OMP_WAIT_POLICY="PASSIVE",
            **shape.environment(folder),
        )
        self.api = shape.part(["api"], self._environment, folder / "api.log")
        self.workers = [
            shape.part(["worker"], self._environment, folder / f"worker-{number}.log")
            for number in range(shape.workers)
        ]

    def start(self) -> None:
        """API and workers; returns when the API answers."""
        for worker in self.workers:
            worker.start()
        self.start_api()

    def start_api(self) -> None:
        """Returns when it answers."""
        self.api.start()
        wait_until(self.answers, 120, f"the API ({self.api.log})")

    def answers(self) -> bool:
        try:
            return self.client.http.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def parts(self) -> list[Part]:
        """API and workers."""
        return [self.api, *self.workers]

    def stop(self) -> None:
        """Kill what is left."""
        for part in self.parts:
            if part.alive:
                part.kill()
        self.client.close()
        self.context.close()

    def unfinished(self) -> list[tuple[str, str, int]]:
        """Id, status and attempt of the jobs that have not ended."""
        with self.context.database.read() as session:
            query = select(Job.id, Job.status, Job.attempt)
            rows = session.execute(query.where(Job.status.not_in(sorted(TERMINAL))))
            return [(job_id, status, attempt) for job_id, status, attempt in rows]

    def takers(self, job_id: str) -> list[Part]:
        """The workers that said that they took the job, the last one at the end."""
        taken = [
            (line["timestamp"], number)
            for number, worker in enumerate(self.workers)
            for line in _lines(worker.log)
            if line.get("event") == "job taken" and line.get("job_id") == job_id
        ]
        return [self.workers[number] for _, number in sorted(taken)]

    def deliver(self, job_id: str) -> None:
        """Give the broker a message for the job, whether it had one before or not."""
        with celery_app(self.settings) as celery:
            celery.send_task(RUN_JOB, args=[job_id], queue=QUEUE)

    def collect_garbage(self) -> None:
        """`dspt gc`, of files of any age."""
        command = Part(["gc", "--grace", "0"], self._environment, self.folder / "gc.log")
        command.start()
        assert command.wait() == 0, f"`dspt gc` failed ({command.log})"


@contextmanager
def running_stack(shape: Shape, database: str, folder: Path) -> Iterator[Stack]:
    """Everything started, on `database` (`sqlite` or `postgresql`), with its files in `folder`.

    Raises AssertionError where a part does not come up.
    """
    with ExitStack() as cleanup:
        server: PostgresServer | None = None
        url = f"sqlite:///{folder / 'data' / 'dspt.db'}"
        if database == "postgresql":
            server = cleanup.enter_context(restartable_postgres())
            url = cleanup.enter_context(postgres_database(server.url))
        redis = cleanup.enter_context(redis_server(append_only=shape.append_only))
        settings = Settings(
            data_dir=folder / "data",
            database_url=url,
            broker_url=redis.url,
            port=free_port(),
            heartbeat_seconds=shape.heartbeat,
            housekeeping_seconds=HOUSEKEEPING,
            log_format="json",
        )
        shape.prepare(settings, cleanup)
        stack = Stack(shape, settings, server, redis, folder)
        cleanup.callback(stack.stop)
        stack.start()
        yield stack


def _lines(log: Path) -> Iterator[dict[str, str]]:
    """The log's records; what is no JSON (a traceback of the start, half a line) is passed over."""
    for line in log.read_text("utf-8", "replace").splitlines() if log.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
