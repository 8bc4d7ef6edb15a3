"""The stack of a drill: its parts can be stopped and killed, and its data looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from dspt_client.schemas.status import TERMINAL
from sqlalchemy import select, text

from app.kit.broker import RUN_JOB, celery_app
from app.kit.context import Context
from app.kit.pools import DEFAULT_POOL, queue_of
from app.kit.settings import Settings
from app.tables.jobs import Job
from benchmarks import stack
from benchmarks.fault_drills.client import Client
from benchmarks.stack import HOST, Part, Servers
from tests.services import clean_environment, free_port

HOUSEKEEPING = 0.1
QUICK_HEARTBEAT = 1.0
"""For drills that kill workers: a job is queued again after two and a half heartbeats."""


@dataclass(frozen=True)
class Shape:
    """How a drill needs its stack."""

    workers: int = 2
    """With a second one, a job need not wait until a killed worker has started again."""
    append_only: bool = True
    """Whether Redis keeps its data on disk."""
    heartbeat: float = 3.0
    """Seconds; long enough that a live worker on a busy machine never counts as dead."""
    epochs: int = 60
    """Of a job that a fault hits: about two seconds, most of them tuning."""
    environment: Callable[[Path], Mapping[str, str]] = lambda folder: {}
    """Environment variables for API and workers, given the folder of the stack."""
    prepare: Callable[[Settings, ExitStack], None] = lambda settings, cleanup: None
    """Called before the stack is started."""


class Stack(stack.Stack):
    """All parts of one running service, with access to its database and storage."""

    def __init__(self, shape: Shape, settings: Settings, servers: Servers, folder: Path) -> None:
        self.settings, self.servers, self.epochs = settings, servers, shape.epochs
        self.context = Context.open(settings)
        self.client = Client(f"http://{HOST}:{settings.port}")
        environment = clean_environment(
            DSPT_PREDICT_ENGINE="torch",  # compiling an image tower takes seconds
            **{
                f"DSPT_{name.upper()}": str(getattr(settings, name))
                for name in settings.model_fields_set
            },
            OMP_NUM_THREADS="1",
            OMP_WAIT_POLICY="PASSIVE",
            **shape.environment(folder),
        )
        super().__init__(folder, environment, shape.workers)

    def _ready(self) -> bool:
        """Return whether the API answers; a drill does not wait for its workers."""
        try:
            return self.client.http.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Kill the parts that are still running."""
        for part in self.parts:
            if part.alive:
                part.kill()
        self.client.close()
        self.context.close()

    def unfinished(self) -> list[tuple[str, str, int]]:
        """Return id, status and attempt of the jobs that have not ended."""
        with self.context.database.read() as session:
            query = select(Job.id, Job.status, Job.attempt)
            rows = session.execute(query.where(Job.status.not_in(sorted(TERMINAL))))
            return [(job_id, status, attempt) for job_id, status, attempt in rows]

    def takers(self, job_id: str) -> list[Part]:
        """Return the workers that logged that they took the job, the latest last."""
        taken = [(at, i) for i, worker in enumerate(self.workers) for at in worker.taken(job_id)]
        return [self.workers[i] for _, i in sorted(taken)]

    def deliver(self, job_id: str) -> None:
        """Send the broker another message for the job."""
        with celery_app(self.settings) as celery:
            celery.send_task(RUN_JOB, args=[job_id], queue=queue_of(DEFAULT_POOL))

    def collect_garbage(self) -> None:
        """Run `dspt gc` for files of any age, however many."""
        self.run("gc", "--grace", "0", "--force")

    def run(self, *arguments: str) -> None:
        """Run a `dspt` command. Raises AssertionError if it fails."""
        log = self.folder / f"{arguments[0]}.log"
        command = Part(arguments, self.environment, log)
        command.start()
        assert command.wait() == 0, f"`dspt {' '.join(arguments)}` failed ({log})"

    def lose_database(self) -> None:
        """Delete all that the database holds, as if its disk was lost. No part may run."""
        database = self.context.database
        if self.servers.database is None:
            database.close()
            file = Path(str(database.engine.url.database))
            for path in file.parent.glob(f"{file.name}*"):
                path.unlink()
            return
        with database.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        database.close()


@contextmanager
def running_stack(shape: Shape, database: str, folder: Path) -> Iterator[Stack]:
    """Start the whole stack on `database` (`sqlite` or `postgresql`), with its files in `folder`.

    Raises StackError if a part does not start.
    """
    with ExitStack() as cleanup:
        servers = Servers(cleanup, folder, database, append_only=shape.append_only, durable=False)
        settings = Settings(
            data_dir=folder / "data",
            database_url=servers.url,
            broker_url=servers.redis.url,
            port=free_port(),
            heartbeat_seconds=shape.heartbeat,
            housekeeping_seconds=HOUSEKEEPING,
            log_format="json",
        )
        shape.prepare(settings, cleanup)
        found = Stack(shape, settings, servers, folder)
        cleanup.callback(found.stop)
        found.start()
        yield found
