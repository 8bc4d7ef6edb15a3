"""Rows of all tables as JSON lines, for SQLite and PostgreSQL alike.

The tables are those that the database has, not those of this version of the code, so that a
database can be dumped before its schema is migrated. A dump of one kind of database can be loaded
into the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Connection, DateTime, MetaData, Select, select, text
from sqlalchemy import Table as SqlTable

from app.backup.manifest import Table

_ALEMBIC = "alembic_version"
#: Filled by migrations or by every process, so that they do not make a database non-empty.
_NOT_DATA = frozenset({"job_steps", "installation", "schema_compatibility", "workers"})
_BATCH = 500
_STREAM = {"yield_per": _BATCH}


def tables_of(connection: Connection) -> list[SqlTable]:
    """Return the tables of the service, each after those that its foreign keys refer to."""
    metadata = MetaData()
    metadata.reflect(connection)
    tables = [table for table in metadata.sorted_tables if table.name != _ALEMBIC]
    for table in tables:
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True  # as all columns of the service are declared
    return tables


def has_data(connection: Connection) -> bool:
    """Return whether any table has rows that a start of the service does not write by itself."""
    return any(
        connection.execute(select(text("1")).select_from(table).limit(1)).first()
        for table in tables_of(connection)
        if table.name not in _NOT_DATA
    )


def dump(connection: Connection, table: SqlTable, path: Path) -> Table:
    """Write the rows of a table to `path`; return their number and the file's digest."""
    digest, rows = hashlib.sha256(), 0
    with path.open("wb") as file:
        for row in connection.execute(_ordered(table), execution_options=_STREAM):
            values = {name: _to_json(value) for name, value in row._mapping.items()}
            line = json.dumps(values, ensure_ascii=False).encode() + b"\n"
            file.write(line)
            digest.update(line)
            rows += 1
    return Table(rows=rows, sha256=digest.hexdigest())


def load(connection: Connection, table: SqlTable, path: Path) -> int:
    """Replace the rows of a table by those in `path`; return their number."""
    connection.execute(table.delete())
    times = {column.name for column in table.columns if isinstance(column.type, DateTime)}
    count, batch = 0, []
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            batch.append({n: _from_json(v) if n in times else v for n, v in row.items()})
            count += 1
            if len(batch) == _BATCH:
                connection.execute(table.insert(), batch)
                batch = []
    if batch:
        connection.execute(table.insert(), batch)
    return count


@contextmanager
def without_triggers(connection: Connection, tables: list[SqlTable]) -> Iterator[None]:
    """Let rows be written in any state: triggers allow only steps of a running service."""
    if connection.dialect.name == "postgresql":
        for table in tables:
            connection.execute(text(f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER'))
        yield
        for table in tables:
            connection.execute(text(f'ALTER TABLE "{table.name}" ENABLE TRIGGER USER'))
        return
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    triggers = connection.execute(query).all()
    for trigger in triggers:
        connection.exec_driver_sql(f'DROP TRIGGER "{trigger.name}"')
    yield
    for trigger in triggers:
        connection.exec_driver_sql(trigger.sql)


def _ordered(table: SqlTable) -> Select[Any]:
    """Return a query of all rows, in which a row comes after the row of the table it refers to."""
    own = [c for c in table.columns if any(key.column.table is table for key in c.foreign_keys)]
    # A data set is made from an earlier version.
    version = [table.c.version] if own and "version" in table.c else []
    referring = [column.is_not(None) for column in own]
    return select(table).order_by(*version, *referring, *table.primary_key.columns)


def _to_json(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value.isoformat()


def _from_json(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)
