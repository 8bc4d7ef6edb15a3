"""SQLite and PostgreSQL behind one face: sessions that read, sessions that write, migrations."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

#: Any fixed number will do, as long as nobody else in the database locks on it.
_MIGRATION_LOCK = 0x64737074

#: One for each thread of the API, so that none waits for another: 40 serve requests, a few do other
#: work. They are opened when they are needed, and kept: to open one takes longer than to use it.
_POOL: Final = {"pool_size": 50, "max_overflow": 0}

#: JSON that PostgreSQL stores parsed.
JsonColumn = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime on every database; SQLite itself keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables. Constraints are named by rule so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime, dict[str, Any]: JsonColumn, list[Any]: JsonColumn}  # noqa: RUF012


class Database:
    """One engine. Open it once per process, after any fork."""

    def __init__(self, url: str) -> None:
        self.url = normalise_url(url)
        self.engine = _engine(self.url)
        # SQLite upgrades a reading transaction to a writing one only by chance: if another
        # connection wrote in between it fails at once, whatever the timeout. So writers say so.
        self._writer = self.engine.execution_options(sqlite_begin="IMMEDIATE")
        # On PostgreSQL each query sees what is committed, in a transaction or not; without one
        # there is no BEGIN and no ROLLBACK to wait for.
        self._reader = (
            self.engine
            if self.engine.dialect.name == "sqlite"
            else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading. Leave it on the thread that entered it, before any wait for
        another: whoever holds a connection may be waited for by all threads that there are.
        """
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in a transaction that commits at the end, or rolls back on an exception."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def check(self) -> None:
        """Raise sqlalchemy.exc.SQLAlchemyError unless the database answers."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        self.engine.dispose()


def take_turns(session: Session, lock: int) -> None:
    """Keep others out who call this with the same number until this transaction ends."""
    # On SQLite whoever writes is alone in any case.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(lock)))


def database_now(session: Session) -> datetime:
    """The database's clock: leases are compared across machines whose own clocks may differ."""
    if session.get_bind().dialect.name == "postgresql":
        moment: datetime | None = session.scalar(select(func.clock_timestamp(type_=UtcTime)))
        assert moment is not None
        return moment
    return datetime.now(UTC)


def normalise_url(url: str) -> str:
    """Fill in the driver that is installed; refuse databases that are not supported."""
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    elif parsed.drivername != "sqlite":
        raise ValueError(
            f"DSPT_DATABASE_URL: {parsed.drivername} is not supported; "
            "use sqlite:///FILE or postgresql://..."
        )
    elif not parsed.database or parsed.database == ":memory:":
        raise ValueError("DSPT_DATABASE_URL: SQLite needs a file, as in sqlite:////var/lib/dspt.db")
    return parsed.render_as_string(hide_password=False)


def migrate(url: str) -> None:
    """Bring the database to the newest schema. Safe when several processes start at once."""
    database = Database(url)
    try:
        if database.engine.dialect.name == "sqlite":
            _switch_to_wal(database.engine)
        with database._writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()


def alembic_config() -> Config:
    """Alembic's configuration; the scripts lie in the package so that they ship with it."""
    config = Config()
    config.set_main_option("script_location", "app:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    # What people send is in the parameters, and an error's text goes to the log.
    if parsed.drivername != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, hide_parameters=True, **_POOL)
    assert parsed.database is not None
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, hide_parameters=True, **_POOL)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transaction handling begins too late and not for DDL; we begin ourselves.
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout=15000")  # writers queue up for this many ms
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")  # a 202 means the job survives a power cut

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        kind = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine


def _switch_to_wal(engine: Engine) -> None:
    """Let readers and a writer work side by side; the setting stays in the file."""
    assert engine.url.database is not None
    # The switch does not honour SQLite's own timeout, so processes take turns on a lock file.
    with Path(f"{engine.url.database}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL").close()
        finally:
            connection.close()
