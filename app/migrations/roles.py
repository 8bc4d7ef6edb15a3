"""A PostgreSQL role for the running service: it reads and writes rows, and owns nothing."""

from __future__ import annotations

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from app.kit.db import normalise_url

#: Written by migrations only.
_READ_ONLY = ("alembic_version", "schema_compatibility")


def grant(owner_url: str, service_url: str) -> str:
    """Let the role of `service_url` use the service's tables; return its name.

    The role is created if it does not exist, and gets the password of `service_url` if it cannot
    log in with it. Raises psycopg.Error, and ValueError for two URLs that do not belong together.
    """
    owner, service = _parts(owner_url), _parts(service_url)
    if _place(owner) != _place(service):
        raise ValueError("DSPT_OWNER_DATABASE_URL and DSPT_DATABASE_URL are different databases.")
    role = service.username
    if not role or role == owner.username:
        raise ValueError(
            "DSPT_DATABASE_URL must have a role of its own, other than DSPT_OWNER_DATABASE_URL's."
        )
    with psycopg.connect(_address(owner)) as connection:
        _create_or_update(connection, role, service)
        _grant(connection, role)
    return role


def _create_or_update(
    connection: psycopg.Connection[tuple[object, ...]], role: str, service: URL
) -> None:
    """Create the role; give it its password. The server gets only the password's hash."""
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    if known is not None and _can_log_in(service):
        return
    password: sql.Composable = sql.SQL("")
    if service.password:
        encrypted = connection.pgconn.encrypt_password(
            str(service.password).encode(), role.encode()
        )
        password = sql.SQL("PASSWORD {}").format(sql.Literal(encrypted.decode()))
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN {}").format(
            sql.SQL("CREATE" if known is None else "ALTER"), sql.Identifier(role), password
        )
    )


def _can_log_in(service: URL) -> bool:
    try:
        psycopg.connect(_address(service), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _grant(connection: psycopg.Connection[tuple[object, ...]], role: str) -> None:
    """Grant the role what it needs in the schema of the tables, and nothing else."""
    name = sql.Identifier(role)
    found = connection.execute(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'alembic_version'"
        " AND table_schema = ANY (current_schemas(false))"
    ).fetchone()
    assert found is not None  # the database was migrated
    schema = sql.Identifier(str(found[0]))
    statements = [
        "GRANT CONNECT ON DATABASE {database} TO {role}",
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
        *(
            f"REVOKE INSERT, UPDATE, DELETE ON {{schema}}.{table} FROM {{role}}"
            for table in _READ_ONLY
        ),
        # Databases from before PostgreSQL 15 let everyone create tables here.
        "REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",
        "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
    ]
    for statement in statements:
        connection.execute(
            sql.SQL(statement).format(
                role=name, schema=schema, database=sql.Identifier(connection.info.dbname)
            )
        )


def _parts(url: str) -> URL:
    parts = make_url(normalise_url(url))
    if parts.drivername == "sqlite":
        raise ValueError("DSPT_OWNER_DATABASE_URL needs PostgreSQL; SQLite has no roles.")
    return parts


def _place(url: URL) -> tuple[object, ...]:
    """Return server and database."""
    return url.host, url.port or 5432, url.database, url.query.get("host")


def _address(url: URL) -> str:
    """Return the URL as libpq reads it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
