"""The database, the workers that it knows, and whether the storage belongs to it.

Imports SQLAlchemy, which takes a second.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from app.doctor.findings import PARTS, Finding, State
from app.doctor.variables import shown
from app.installation.service import InstallationError, check
from app.jobs.lifecycle.queued import queued_by_pool
from app.jobs.lifecycle.workers import alive
from app.kit.context import Context
from app.kit.db import Database
from app.kit.pools import DEFAULT_POOL, start_command
from app.kit.schema import NewerSchemaError, OlderSchemaError, check_connection, current_revision
from app.kit.settings import Settings
from dspt.kit.text import counted


def look(settings: Settings) -> Iterator[Finding]:
    """Check schema and workers. Creates nothing."""
    where = shown("", settings.database_url)
    try:
        database = Database(settings.database_url)
    except ValueError as error:
        yield Finding(PARTS, "database", State.FAIL, str(error), "correct DSPT_DATABASE_URL")
        return
    try:
        schema = _schema(database, where, settings.migrate_at_start)
        yield schema
        if schema.state == State.OK:  # else there may be no tables to read
            yield _workers(database, settings)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        fix = "start the database, or correct DSPT_DATABASE_URL"
        yield Finding(PARTS, "database", State.FAIL, f"{where}: {shown('', reason)}", fix)
    finally:
        database.close()


def _schema(database: Database, where: str, migrate_at_start: bool) -> Finding:
    with database.engine.connect() as connection:
        there = current_revision(connection)
        tables = inspect(connection).get_table_names()
        start = "the first start of the API" if migrate_at_start else "dspt db upgrade"
        if there is None:
            number = counted(len(tables), "table")
            holds = f"{number} of another program" if tables else "no tables yet"
            state = State.WARN if tables else State.OFF
            fix = f"{start} creates the tables of DSPT"
            return Finding(PARTS, "database", state, f"{where}: up, {holds}", fix)
        where = f"{where}, schema {there}"
        try:
            newer = check_connection(connection)
        except OlderSchemaError as error:
            fix = "the API migrates it when it starts" if migrate_at_start else f"run {start}"
            return Finding(PARTS, "database", State.WARN, f"{where} of {error.newest}", fix)
        except NewerSchemaError:
            found, fix = (
                f"{where}, which is newer than this version",
                "install the version that created it",
            )
            return Finding(PARTS, "database", State.FAIL, found, fix)
    if newer:
        found = f"{where}, which is newer than this version but works with it"
        return Finding(PARTS, "database", State.WARN, found, "install the newer version")
    return Finding(PARTS, "database", State.OK, where)


def _workers(database: Database, settings: Settings) -> Finding:
    with database.read() as session:
        running = alive(session, settings)
        waiting = queued_by_pool(session)
    jobs = f"{waiting.total()} jobs waiting"
    missing = sorted(waiting.keys() - running.keys())
    if running and not missing:
        return Finding(PARTS, "workers", State.OK, f"running; {jobs}")
    found = f"none of the pool {', '.join(missing)} running" if running else "none running"
    commands = " and ".join(start_command(pool) for pool in missing or [DEFAULT_POOL])
    fix = f"start one with {commands}, or everything with dspt serve"
    state = State.WARN if missing else State.OFF
    return Finding(PARTS, "workers", state, f"{found}; {jobs}", fix)


def look_at_installation(settings: Settings) -> Iterator[Finding]:
    """Check that database and storage belong together; nothing if the database has no schema."""
    try:
        context = Context.open(settings)
        try:
            check(context)
        finally:
            context.close()
    except InstallationError as error:
        yield Finding(PARTS, "installation", State.FAIL, str(error))
    except (SQLAlchemyError, ValueError, OSError):  # reported as another part
        return
