"""Database, broker, storage and workers, as configured on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import redis
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from dspt_client.schemas.status import Status
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.doctor.findings import Finding, State
from app.doctor.variables import shown
from app.installation.service import InstallationError, check
from app.jobs.lifecycle.workers import any_alive
from app.kit.broker import celery_app
from app.kit.context import Context
from app.kit.db import Database, alembic_config
from app.kit.settings import GIB, Settings
from app.kit.storage import Storage
from app.tables.jobs import Job

_PART = "parts"
_NOT_YET = "does not exist yet; it is created at the first start"
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
        yield _schema(database, where)
        yield _workers(database, settings)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        mend = "start the database, or correct DSPT_DATABASE_URL"
        yield Finding(_PART, "database", State.FAIL, f"{where}: {shown('', reason)}", mend)
    finally:
        database.close()


def _schema(database: Database, where: str) -> Finding:
    scripts = ScriptDirectory.from_config(alembic_config())
    newest = scripts.get_current_head()
    with database.engine.connect() as connection:
        there = MigrationContext.configure(connection).get_current_revision()
    if there == newest:
        return Finding(_PART, "database", State.OK, f"{where}, schema {there}")
    if there is None or there in {script.revision for script in scripts.walk_revisions()}:
        found, mend = f"{where}, schema {there} of {newest}", "the API migrates it when it starts"
        return Finding(_PART, "database", State.WARN, found, mend)
    found = f"{where}, schema {there}, which is newer than this version"
    return Finding(_PART, "database", State.FAIL, found, "install the version that created it")


def _workers(database: Database, settings: Settings) -> Finding:
    with database.read() as session:
        alive = any_alive(session, settings)
        waiting = session.scalar(select(func.count()).where(Job.status == Status.QUEUED)) or 0
    if alive:
        return Finding(_PART, "workers", State.OK, f"running; {waiting} jobs waiting")
    state = State.WARN if waiting else State.OFF
    mend = "start one with dspt worker, or everything with dspt serve"
    return Finding(_PART, "workers", state, f"none running; {waiting} jobs waiting", mend)


def _broker(settings: Settings) -> Finding:
    if not settings.broker_url:
        found = "DSPT_BROKER_URL is not set; dspt serve starts a private Redis"
        return Finding(_PART, "broker", State.OFF, found)
    where = shown("", settings.broker_url)
    app = celery_app(settings)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
            connection.default_channel.client.ping()
    except (BrokerError, redis.RedisError, OSError, KeyError, ValueError) as error:
        mend = "start Redis, or correct DSPT_BROKER_URL"
        return Finding(_PART, "broker", State.FAIL, f"{where}: {shown('', str(error))}", mend)
    finally:
        app.close()
    return Finding(_PART, "broker", State.OK, where)


def _storage(settings: Settings) -> Finding:
    where, url = shown("", settings.storage_url), urlsplit(settings.storage_url)
    folder = Path(url.path) if url.scheme in ("", "file") else None
    if folder is not None and not folder.exists():
        return Finding(_PART, "storage", State.OFF, f"{where}: {_NOT_YET}")
    try:
        Storage(settings.storage_url).check()
    except (OSError, ValueError, ImportError) as error:
        mend = "check its permissions, its free space and DSPT_STORAGE_URL"
        return Finding(_PART, "storage", State.FAIL, f"{where}: {error}", mend)
    if folder is None:
        return Finding(_PART, "storage", State.OK, where)
    free = shutil.disk_usage(folder).free
    found = f"{where}, {free / GIB:.1f} GiB free"
    if free < _LITTLE_SPACE:
        mend = "free some space; dspt gc deletes data that is no longer needed"
        return Finding(_PART, "storage", State.WARN, found, mend)
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
