"""The service on several hosts that share nothing but PostgreSQL, Redis and a bucket.

PostgreSQL, Redis, the bucket and a balancer run on this machine; hosts reach them through proxies,
which can go silent. Each host has a network namespace, and a data folder of its own.
"""

from __future__ import annotations

import itertools
import os
import pickle
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import httpx
from dspt_client import Client
from dspt_client.schemas.status import TERMINAL
from sqlalchemy import make_url, select

from app.kit.context import Context
from app.kit.schema import migrate
from app.kit.settings import Settings
from app.tables.jobs import Job
from benchmarks.scale.host import EPOCH_SECONDS, NAMESPACE, RESULT
from benchmarks.scale.network import Host, Network
from benchmarks.stack import Part, Servers, StackError
from dspt.config import TuneConfig
from dspt.data import load_dataset
from dspt.pipeline import TuneResult, tune
from tests.acceptance.photos import COLOURS, photos, zipped
from tests.proxy import Proxy, proxy, proxy_to_file, proxy_to_port
from tests.s3_server import CREDENTIALS, s3_server
from tests.services import clean_environment, wait_until
from tests.warm import Forked, Warm, warm

HEARTBEAT = 1.0
"""Seconds: a job of a dead worker is queued again after two and a half of them."""
HOUSEKEEPING = 0.2
EPOCH = 0.5
"""Seconds of an epoch on the simulated GPU."""
KEY = "k" * 32
"""May do everything."""
_PORT = 8000


class HostPart(Part):
    """`dspt COMMAND` on a host."""

    def __init__(
        self, forks: Warm, host: Host, arguments: Sequence[str], settings: Mapping[str, str]
    ) -> None:
        folder = Path(settings["DSPT_DATA_DIR"])
        environment = dict(settings) | {NAMESPACE: host.namespace}
        super().__init__(arguments, environment, folder.with_suffix(".log"))
        self.host, self._forks = host, forks

    def _started(self) -> Forked:
        return self._forks.dspt(
            self.arguments, self.environment, self.log, module="benchmarks.scale.host"
        )


class Cluster:
    """API processes and workers, each on a host, behind one address."""

    def __init__(self, folder: Path, cleanup: ExitStack, **settings: str) -> None:
        """`settings`: further variables of all hosts."""
        self.folder = folder
        self._photos = folder / "photos.zip"
        self._photos.write_bytes(_zip_of_photos())
        self._forks = cleanup.enter_context(warm())
        cleanup.enter_context(patch.dict(os.environ, CREDENTIALS))
        self.network = Network(cleanup)
        here = self.network.address
        self.servers = Servers(cleanup, folder, "postgresql", append_only=False, durable=False)
        self.bucket = cleanup.enter_context(s3_server())
        sockets = make_url(self.servers.url).query["host"]
        enter = cleanup.enter_context
        self.database = enter(proxy_to_file(f"{sockets}/.s.PGSQL.5432", here))
        self.broker = enter(proxy_to_port(self.servers.redis.port, here))
        self.storage = enter(proxy_to_port(self.bucket.port, here))
        self.apis: list[HostPart] = []
        self.workers: list[HostPart] = []
        self._turns = itertools.count()
        self.balancer: Proxy = enter(proxy(self._connect, here))
        self.result = _result(self._photos)
        """Of all jobs."""
        self.settings = self._settings(settings)
        migrate(self.servers.url)
        self.context = Context.open(
            Settings(
                data_dir=folder / "here",
                database_url=self.servers.url,
                storage_url=self.settings["DSPT_STORAGE_URL"],
                s3_endpoint=self.bucket.endpoint,
            )
        )
        cleanup.callback(self.context.close)
        self.url = f"http://{here}:{self.balancer.port}"
        """Of the balancer."""
        self.client = Client(self.url, KEY, retries=8)
        cleanup.callback(self.client.close)
        cleanup.callback(self._kill)
        self._datasets: dict[Client, str] = {}
        self.posted: set[str] = set()
        """Ids of all jobs."""

    def start(self, *, apis: int = 1, workers: int = 1) -> None:
        """Start and stop parts until these run, on as many hosts; return when they are ready."""
        for name, parts, wanted in (("api", self.apis, apis), ("worker", self.workers, workers)):
            for number in range(len(parts) + 1, wanted + 1):
                parts.append(self._part(name, f"{name}{number}"))
            for number, part in enumerate(parts):
                if number >= wanted:
                    part.stop()
                elif not part.alive:
                    part.start()
        self.wait_ready()

    def restart_apis(self, **settings: str) -> None:
        """Restart the API processes that run, one by one; all have these variables from now on."""
        for api in self.apis:
            api.environment |= settings
            if api.alive:
                api.stop()
                api.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when the API processes that run answer, and count all workers that run.

        Raises StackError.
        """
        try:
            wait_until(self._ready, 180, "API and workers", pause=0.1)
        except AssertionError as error:
            raise StackError(f"{error}\n{self.last_lines()}") from error

    def post(self, jobs: int, epochs: int, client: Client | None = None) -> list[str]:
        """Submit jobs on the same photos; return their ids."""
        client = client or self.client
        if client not in self._datasets:
            self._datasets[client] = client.datasets.create(self._photos).id
        data, config = self._datasets[client], {"epochs": epochs}
        posted = [client.jobs.create(data, config=config).id for _ in range(jobs)]
        self.posted.update(posted)
        return posted

    def rows(self, jobs: Sequence[str]) -> dict[str, Job]:
        """Return the rows of these jobs, read from the database itself."""
        with self.context.database.read() as session:
            rows = session.scalars(select(Job).where(Job.id.in_(jobs))).all()
        return {row.id: row for row in rows}

    def count(self, jobs: Sequence[str], *statuses: str) -> int:
        """Return how many of the jobs have one of these statuses."""
        return sum(row.status in statuses for row in self.rows(jobs).values())

    def wait(self, jobs: Sequence[str], seconds: float = 300) -> None:
        """Return when all jobs have ended."""

        def ended() -> bool:
            return self.count(jobs, *TERMINAL) == len(jobs)

        wait_until(ended, seconds, "the jobs", pause=0.1)

    def worker_of(self, job_id: str) -> HostPart:
        """Return the worker that logged that it took the job last. It must have been taken."""
        taken = [(at, worker) for worker in self.workers for at in worker.taken(job_id)]
        return max(taken, key=lambda found: found[0])[1]

    def last_lines(self) -> str:
        return "\n".join(part.log.read_text("utf-8", "replace")[-600:] for part in self._parts)

    @property
    def _parts(self) -> list[HostPart]:
        return [*self.apis, *self.workers]

    def _kill(self) -> None:
        for part in self._parts:
            if part.alive:
                part.kill()

    def _part(self, command: str, name: str) -> HostPart:
        host = self.network.host(name)
        own = {"DSPT_DATA_DIR": str(self.folder / name), "DSPT_HOST": host.address}
        return HostPart(self._forks, host, [command], self.settings | own)

    def _settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        here = self.network.address
        database = make_url(self.servers.url).set(host=here, port=self.database.port, query={})
        result = self.folder / "result"
        result.write_bytes(pickle.dumps(self.result))
        return clean_environment(
            DSPT_DATABASE_URL=database.render_as_string(hide_password=False),
            DSPT_BROKER_URL=f"redis://{here}:{self.broker.port}/0",
            DSPT_STORAGE_URL=self.bucket.new_url(),
            DSPT_S3_ENDPOINT=f"http://{here}:{self.storage.port}",
            DSPT_PORT=str(_PORT),
            DSPT_BOOTSTRAP_KEY=KEY,
            DSPT_HEARTBEAT_SECONDS=str(HEARTBEAT),
            DSPT_HOUSEKEEPING_SECONDS=str(HOUSEKEEPING),
            DSPT_PREDICT_ENGINE="torch",
            DSPT_LOG_FORMAT="json",
            OMP_NUM_THREADS="1",
            OMP_WAIT_POLICY="PASSIVE",
            **{EPOCH_SECONDS: str(EPOCH), RESULT: str(result)},
        ) | dict(settings)

    def _connect(self) -> socket.socket:
        """Connect to the API processes in turn, and to the next one where one is away."""
        running = [part for part in self.apis if part.alive]
        turn = next(self._turns)
        for number in range(len(running)):
            address = running[(turn + number) % len(running)].host.address
            try:
                connection = socket.create_connection((address, _PORT), timeout=1)
            except OSError:
                continue
            connection.settimeout(None)
            return connection
        raise OSError("no API process answers")

    def _ready(self) -> bool:
        workers = sum(worker.alive for worker in self.workers)
        running = [api for api in self.apis if api.alive]
        for api in running:
            try:
                answer = httpx.get(f"http://{api.host.address}:{_PORT}/health/ready")
            except httpx.TransportError:
                return False
            if not answer.is_success or answer.json()["checks"]["workers"]["count"] != workers:
                return False
        return bool(running)


@contextmanager
def running_cluster(folder: Path, **settings: str) -> Iterator[Cluster]:
    """Prepare a cluster without hosts. It ends with the block."""
    with ExitStack() as cleanup:
        yield Cluster(folder, cleanup, **settings)


def _zip_of_photos() -> bytes:
    train = photos(*COLOURS, count=4, folder="train/")
    return zipped(train | photos(*COLOURS, count=2, folder="test/", first_seed=100))


def _result(archive: Path) -> TuneResult:
    """Tune on the photos once, for the result of all jobs."""
    with load_dataset(archive) as dataset:
        return tune(dataset, TuneConfig.parse({"epochs": 1, "device": "cpu"}))
