"""SQLite and PostgreSQL: read sessions and write sessions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Dialect,
    Engine,
    MetaData,
    create_engine,
    event,
    exc,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

#: One connection per thread of the API. On SQLite a connection is an open file, which costs little.
_SQLITE_POOL: Final = {"pool_size": 50, "max_overflow": 0}
#: Seconds that a thread waits for a connection of the pool.
_POOL_TIMEOUT_SECONDS = 3
#: Below the time after which firewalls usually drop idle connections.
_POOL_RECYCLE_SECONDS = 1800

#: Raised where the database does not answer in time, or at all: retry later.
UNAVAILABLE: Final = (exc.OperationalError, exc.InternalError, exc.TimeoutError)

#: JSON; JSONB on PostgreSQL.
JsonColumn = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcTime(TypeDecorator[datetime]):
    """A timezone-aware UTC datetime on every database; SQLite itself stores no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("cannot store a datetime without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables. Constraint names follow a convention, so that migrations find them."""

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
    """One engine per process, opened after any fork.

    On PostgreSQL a statement may take `seconds`; then it raises an error of `UNAVAILABLE`, also if
    the server or the network is silent.
    """

    def __init__(self, url: str, *, pool_size: int = 10, seconds: float = 5.0) -> None:
        self.url = normalise_url(url)
        self._aborted = threading.Event()
        self.engine = _engine(self.url, pool_size, seconds, self._aborted)
        # On SQLite, upgrading a read transaction fails at once, whatever the timeout, if another
        # connection wrote in between. So write transactions begin as IMMEDIATE.
        self.writer = self.engine.execution_options(sqlite_begin="IMMEDIATE")
        # On PostgreSQL each query sees committed data anyway; AUTOCOMMIT saves BEGIN and ROLLBACK.
        self._reader = (
            self.engine
            if self.engine.dialect.name == "sqlite"
            else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session for reading.

        Leave it on the thread that entered it, and before waiting for another thread: all other
        threads may be waiting for this connection.
        """
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session in a transaction that commits at the end; exceptions roll back."""
        with Session(self.writer, expire_on_commit=False) as session, session.begin():
            yield session

    def check(self) -> None:
        """Raise sqlalchemy.exc.SQLAlchemyError unless the database answers."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def abort(self) -> None:
        """End running statements, and all later ones, with an error: the process is stopping."""
        self._aborted.set()

    def close(self) -> None:
        self.engine.dispose()


def lock_until_commit(session: Session, lock: int) -> None:
    """Hold the advisory lock with this number until the transaction ends."""
    # SQLite has a single writer anyway.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(lock)))


def database_now(session: Session) -> datetime:
    """Return the database's time, because the clocks of machines may differ."""
    if session.get_bind().dialect.name == "postgresql":
        moment: datetime | None = session.scalar(select(func.clock_timestamp(type_=UtcTime)))
        assert moment is not None
        return moment
    return datetime.now(UTC)


def normalise_url(url: str) -> str:
    """Return the URL with the installed driver. Raises ValueError if unsupported."""
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


def _engine(url: str, pool_size: int, seconds: float, aborted: threading.Event) -> Engine:
    parsed = make_url(url)
    # hide_parameters: user data must not reach the log through error messages.
    if parsed.drivername != "sqlite":
        # Without a PostgreSQL server, psycopg is a twentieth of the imports for nothing.
        from app.kit.postgres import Limits, limit_connections, postgres_arguments

        limits = Limits(seconds, aborted)
        pooled = parsed.query.get("pgbouncer") == "true"
        parsed = parsed.difference_update_query(["pgbouncer"])
        engine = create_engine(
            parsed,
            connect_args=postgres_arguments(parsed, limits, pooled=pooled),
            hide_parameters=True,
            max_overflow=0,
            pool_pre_ping=True,
            pool_recycle=_POOL_RECYCLE_SECONDS,
            pool_size=pool_size,
            pool_timeout=_POOL_TIMEOUT_SECONDS,
        )
        limit_connections(engine, limits)
        return engine
    assert parsed.database is not None
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, hide_parameters=True, **_SQLITE_POOL)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver starts transactions too late, and not for DDL; `begin` below does it.
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout=8000")  # milliseconds that writers wait
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(
            "PRAGMA synchronous=FULL"
        )  # so that an accepted job survives a power cut

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        kind = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine
