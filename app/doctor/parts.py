"""Database, broker, storage and workers, as configured on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from dspt_client.schemas.status import Status
from sqlalchemy import func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from app.doctor.findings import Finding, State
from app.doctor.variables import shown
from app.installation.service import InstallationError, check
from app.jobs.lifecycle.workers import any_alive
from app.kit.context import Context
from app.kit.db import Database
from app.kit.redis_url import redis_url
from app.kit.schema import NewerSchemaError, OlderSchemaError, check_connection, current_revision
from app.kit.settings import GIB, Settings
from app.kit.storage import Storage
from app.serve import ServeError
from app.serve.redis_program import find_redis
from app.tables.jobs import Job

_PART = "parts"
_NOT_YET = "does not exist yet; it is created at the first start"
_BROKER_SECONDS = 3.0
#: The photos and features of one day's jobs take more.
_LITTLE_SPACE = 2 * GIB


def look(settings: Settings) -> Iterator[Finding]:
    """Check each part that is set up here. Creates nothing."""
    database = list(_database(settings))
    yield from database
    yield _broker(settings)
    storage = _storage(settings)
    yield storage
    if {database[0].state, storage.state} <= {State.OK, State.WARN}:
        yield from _installation(settings)


def _database(settings: Settings) -> Iterator[Finding]:
    where = shown("", settings.database_url)
    if settings.database_url.startswith("sqlite:///"):
        file = Path(settings.database_url.removeprefix("sqlite:///"))
        if not file.exists():
            yield Finding(_PART, "database", State.OFF, f"{where}: {_NOT_YET}")
            return
    try:
        database = Database(settings.database_url)
    except ValueError as error:
        yield Finding(_PART, "database", State.FAIL, str(error), "correct DSPT_DATABASE_URL")
        return
    try:
        schema = _schema(database, where, settings.migrate_at_start)
        yield schema
        if schema.state == State.OK:  # else there may be no tables to read
            yield _workers(database, settings)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        fix = "start the database, or correct DSPT_DATABASE_URL"
        yield Finding(_PART, "database", State.FAIL, f"{where}: {shown('', reason)}", fix)
    finally:
        database.close()


def _schema(database: Database, where: str, migrate_at_start: bool) -> Finding:
    with database.engine.connect() as connection:
        there = current_revision(connection)
        tables = inspect(connection).get_table_names()
        start = "the first start of the API" if migrate_at_start else "dspt db upgrade"
        if there is None:
            number = f"{len(tables)} table{'' if len(tables) == 1 else 's'}"
            holds = f"{number} of another program" if tables else "no tables yet"
            state = State.WARN if tables else State.OFF
            fix = f"{start} creates the tables of DSPT"
            return Finding(_PART, "database", state, f"{where}: up, {holds}", fix)
        where = f"{where}, schema {there}"
        try:
            newer = check_connection(connection)
        except OlderSchemaError as error:
            fix = "the API migrates it when it starts" if migrate_at_start else f"run {start}"
            return Finding(_PART, "database", State.WARN, f"{where} of {error.newest}", fix)
        except NewerSchemaError:
            found, fix = (
                f"{where}, which is newer than this version",
                "install the version that created it",
            )
            return Finding(_PART, "database", State.FAIL, found, fix)
    if newer:
        found = f"{where}, which is newer than this version but works with it"
        return Finding(_PART, "database", State.WARN, found, "install the newer version")
    return Finding(_PART, "database", State.OK, where)


def _workers(database: Database, settings: Settings) -> Finding:
    with database.read() as session:
        alive = any_alive(session, settings)
        waiting = session.scalar(select(func.count()).where(Job.status == Status.QUEUED)) or 0
    if alive:
        return Finding(_PART, "workers", State.OK, f"running; {waiting} jobs waiting")
    state = State.WARN if waiting else State.OFF
    fix = "start one with dspt worker, or everything with dspt serve"
    return Finding(_PART, "workers", state, f"none running; {waiting} jobs waiting", fix)


def _broker(settings: Settings) -> Finding:
    if not settings.broker_url:
        try:
            program = str(find_redis())
        except ServeError as error:
            return Finding(_PART, "broker", State.WARN, str(error))
        found = f"DSPT_BROKER_URL is not set; dspt serve starts a private {program}"
        return Finding(_PART, "broker", State.OFF, found)
    where = shown("", settings.broker_url)
    try:
        url = redis_url(settings.broker_url)
        seconds = _BROKER_SECONDS
        with redis.Redis.from_url(
            url, socket_connect_timeout=seconds, socket_timeout=seconds
        ) as client:
            client.ping()
            version = _server_version(client)
    except (redis.RedisError, OSError, ValueError) as error:
        fix = "start Redis, or correct DSPT_BROKER_URL"
        return Finding(_PART, "broker", State.FAIL, f"{where}: {shown('', str(error))}", fix)
    return Finding(_PART, "broker", State.OK, f"{where}{version}")


def _server_version(client: redis.Redis) -> str:
    """Return name and version of the server; nothing if this user may not ask."""
    try:
        info: Any = client.info("server")
    except redis.RedisError:
        return ""
    if "valkey_version" in info:
        return f", Valkey {info['valkey_version']}"
    return f", Redis {info['redis_version']}"


def _storage(settings: Settings) -> Finding:
    where, url = shown("", settings.storage_url), urlsplit(settings.storage_url)
    folder = Path(url.path) if url.scheme in ("", "file") else None
    if folder is not None and not folder.exists():
        return Finding(_PART, "storage", State.OFF, f"{where}: {_NOT_YET}")
    try:
        Storage(settings.storage_url).check()
    except (OSError, ValueError, ImportError) as error:
        fix = "check its permissions, its free space and DSPT_STORAGE_URL"
        return Finding(_PART, "storage", State.FAIL, f"{where}: {error}", fix)
    if folder is None:
        return Finding(_PART, "storage", State.OK, where)
    free = shutil.disk_usage(folder).free
    found = f"{where}, {free / GIB:.1f} GiB free"
    if free < _LITTLE_SPACE:
        fix = "free some space; dspt gc deletes data that is no longer needed"
        return Finding(_PART, "storage", State.WARN, found, fix)
    return Finding(_PART, "storage", State.OK, found)


def _installation(settings: Settings) -> Iterator[Finding]:
    """Check that database and storage belong together; nothing if the database has no schema."""
    try:
        context = Context.open(settings)
        try:
            check(context)
        finally:
            context.close()
    except InstallationError as error:
        yield Finding(_PART, "installation", State.FAIL, str(error))
    except (SQLAlchemyError, ValueError, OSError):  # reported as another part
        return
