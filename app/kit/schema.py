"""The schema of the database: migrations, and which versions of the code can use which schema.

A schema has a revision, and stores the oldest revision whose code can still use it. So a migration
that only adds something (an expansion) lets the version before it go on, and a later one removes
what no version uses any more (a contraction).

Every start of a process and many commands compare the schema; few migrate, and only these import
Alembic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, func, inspect, select, text

from app.kit.db import Database
from app.kit.file_lock import locked
from app.kit.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

#: Alembic's scripts. The name of the file of a migration begins with its revision.
SCRIPTS = Path(__file__).parents[1] / "migrations"
#: Advisory lock number; arbitrary, but unique within the database.
_MIGRATION_LOCK = 0x64737074
#: Time limit of a statement of a migration, which may rewrite a table, and of the wait for another
#: process that migrates.
_MIGRATION_SECONDS = 600.0


class SchemaError(ValueError):
    """This version of the code cannot use the schema of the database."""


class NewerSchemaError(SchemaError):
    """A newer version has migrated the database, and this version cannot use the result."""

    def __init__(self) -> None:
        super().__init__(
            "The schema of the database is newer than this version of DSPT can use. Install the "
            "version that migrated it, or a later one."
        )


class OlderSchemaError(SchemaError):
    """The database has not been migrated yet."""

    def __init__(self, revision: str | None, newest: str) -> None:
        self.newest = newest
        state = "has no tables yet" if revision is None else f"has the schema {revision}"
        super().__init__(
            f"The database {state}, and this version of DSPT needs {newest}. "
            "Run `dspt db upgrade`. The API and workers do so at their start, unless "
            "DSPT_MIGRATE_AT_START is false."
        )


def migrate(url: str) -> str | None:
    """Migrate the database to the newest schema. Safe with concurrent processes.

    A newer schema that this version can use stays as it is; then return a warning. Raises
    NewerSchemaError.
    """
    with migrating(url) as connection:
        if warning := _newer(connection):
            return warning
        newest = revisions()[-1]
        if current_revision(connection) == newest:  # the role need not be the owner
            return None
        from alembic import command
        from alembic.script import ScriptDirectory

        config = alembic_config(connection)
        command.upgrade(config, newest)
        migration = ScriptDirectory.from_config(config).get_revision(newest)
        assert migration is not None
        connection.execute(
            text("UPDATE schema_compatibility SET minimum_revision = :minimum"),
            {"minimum": migration.module.minimum_revision},
        )
    return None


def prepare_schema(settings: Settings) -> str | None:
    """Migrate the database or, without DSPT_MIGRATE_AT_START, check it; return a warning or None.

    Raises SchemaError.
    """
    if settings.migrate_at_start:
        return migrate(settings.database_url)
    return check_schema(settings.database_url)


def check_schema(url: str) -> str | None:
    """Check that this version can use the schema; change nothing. Return a warning or None.

    Raises OlderSchemaError and NewerSchemaError.
    """
    database = Database(url, pool_size=1)
    try:
        with database.engine.connect() as connection:
            return check_connection(connection)
    finally:
        database.close()


def check_connection(connection: Connection) -> str | None:
    """Do what `check_schema` does, on a connection."""
    if warning := _newer(connection):
        return warning
    revision, newest = current_revision(connection), revisions()[-1]
    if revision != newest:
        raise OlderSchemaError(revision, newest)
    return None


def revisions() -> list[str]:
    """Return the revisions that this version knows, the oldest first."""
    return sorted(path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*.py"))


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the database's schema; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _newer(connection: Connection) -> str | None:
    """Return a warning if the schema is newer. Raises NewerSchemaError."""
    revision, known = current_revision(connection), revisions()
    if revision is None or revision in known:
        return None
    if not inspect(connection).has_table("schema_compatibility"):
        raise NewerSchemaError
    minimum = connection.scalar(text("SELECT minimum_revision FROM schema_compatibility"))
    if minimum not in known:
        raise NewerSchemaError
    return (
        f"The schema of the database ({revision}) is newer than this version of DSPT "
        f"({known[-1]}), which can still use it. Install the newer version soon."
    )


@contextmanager
def migrating(url: str) -> Iterator[Connection]:
    """Yield a connection in a transaction. Other processes cannot migrate meanwhile."""
    database = Database(url, pool_size=1, seconds=_MIGRATION_SECONDS)
    try:
        if database.engine.dialect.name == "sqlite":
            _switch_to_wal(database.engine)
        with database.writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            yield connection
    finally:
        database.close()


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration. connection: to migrate on."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _switch_to_wal(engine: Engine) -> None:
    """Let readers and a writer work concurrently; the setting is stored in the file."""
    assert engine.url.database is not None
    # The switch ignores SQLite's own timeout, so processes use a lock file.
    with locked(Path(f"{engine.url.database}.lock")):
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL").close()
        finally:
            connection.close()
