"""The installation id, in the database and in the storage: only a matching pair may be used.

With the wrong database all files in the storage look like garbage, and with the wrong storage all
models look lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kit import storage_keys
from app.kit.context import Context
from app.kit.db import lock_until_commit
from app.kit.ids import new_id
from app.kit.storage import Storage
from app.tables.datasets import Dataset
from app.tables.installation import Installation
from app.tables.jobs import Job
from app.tables.models import Model

_log = structlog.get_logger(__name__)
#: Advisory lock number; arbitrary, but unique within the database.
_LOCK = 0x64737069
_ADOPT = "run `dspt storage adopt`"


class InstallationError(Exception):
    """Database and storage do not belong together; the message says how to go on."""


def ensure(context: Context) -> str:
    """Check that database and storage belong together; mark both if they are new. Return the id.

    An installation from before there were ids is marked too. Raises InstallationError.
    """
    with context.database.read() as session:
        ours = database_id(session)
    if ours is not None and ours == storage_id(context.storage):
        return ours
    with context.database.write() as session:
        lock_until_commit(session, _LOCK)  # two processes may start at once
        ours, theirs = database_id(session), storage_id(context.storage)
        if ours is not None and ours == theirs:
            return ours
        new = _new_id(session, context.storage, ours, theirs)
        # The storage first: if the process dies before the commit, the next start takes this id.
        _mark_new_storage(context.storage, new)
        mark_database(session, new)
    _log.info("database and storage marked", installation=new, storage=context.storage.url)
    return new


def check(context: Context) -> None:
    """Raise InstallationError where `ensure` would; change nothing."""
    if not matches(context):
        with context.database.read() as session:
            ours, theirs = database_id(session), storage_id(context.storage)
            _new_id(session, context.storage, ours, theirs)


def matches(context: Context) -> bool:
    """Return whether database and storage have the same id."""
    with context.database.read() as session:
        ours = database_id(session)
    return ours is not None and ours == storage_id(context.storage)


def adopt(context: Context) -> str:
    """Mark the storage as belonging to the database, whatever it was marked as; return the id."""
    with context.database.write() as session:
        lock_until_commit(session, _LOCK)
        own = database_id(session) or new_id("ins")
        mark_storage(context.storage, own)
        mark_database(session, own)
    return own


def database_id(session: Session) -> str | None:
    """Return the installation id in the database."""
    return session.scalar(select(Installation.id))


def storage_id(storage: Storage) -> str | None:
    """Return the installation id in the storage. Raises InstallationError if it is damaged."""
    try:
        return str(json.loads(storage.read_bytes(storage_keys.INSTALLATION))["id"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InstallationError(
            f"{storage_keys.INSTALLATION} in the storage {storage.url} is damaged. Restore it, or, "
            f"if this storage belongs to this database, delete it and {_ADOPT}."
        ) from error


def mark_database(session: Session, new: str) -> None:
    """Write the id to the database."""
    session.merge(Installation(number=1, id=new, created_at=datetime.now(UTC)))


def mark_storage(storage: Storage, new: str) -> None:
    """Write the id to the storage."""
    storage.put_bytes(storage_keys.INSTALLATION, _mark(new))


def _mark_new_storage(storage: Storage, new: str) -> None:
    """Write the id to the storage. Raises InstallationError if it has another one meanwhile."""
    try:
        storage.create(storage_keys.INSTALLATION, _mark(new))
    except FileExistsError as error:  # the service of another database started at the same time
        theirs = storage_id(storage)
        if theirs != new:
            raise InstallationError(_explain(new, theirs)) from error


def _mark(new: str) -> bytes:
    return json.dumps({"id": new}).encode() + b"\n"


def has_rows(session: Session) -> bool:
    """Return whether the database has any job, data set or model."""
    return any(session.scalar(select(table.id).limit(1)) for table in (Dataset, Job, Model))


def files_in(storage: Storage) -> Iterator[str]:
    """Yield the names of all files, except the mark, the key and test files; also foreign ones."""
    ignored = (storage_keys.INSTALLATION, storage_keys.SIGNING_KEY, "checks/")
    return (file.name for file in storage.files() if not file.name.startswith(ignored))


def _new_id(session: Session, storage: Storage, ours: str | None, theirs: str | None) -> str:
    """Return the id to mark database and storage with. Raises InstallationError."""
    if ours is None:
        rows = has_rows(session)
        if theirs is None and rows:
            return new_id("ins")  # from before there were ids
        if not rows and not any(files_in(storage)):
            return theirs or new_id("ins")  # the first start, perhaps after an interrupted one
    raise InstallationError(_explain(ours, theirs))


def _explain(ours: str | None, theirs: str | None) -> str:
    if ours is None:
        return (
            "The storage is not empty, but the database is new or from another installation. "
            "Check DSPT_DATABASE_URL and DSPT_STORAGE_URL. If the database was lost, restore it "
            "(`dspt restore`). To use this storage with this database on purpose, "
            f"{_ADOPT}."
        )
    if theirs is None:
        return (
            f"The storage is new or its volume is not mounted: the database belongs to "
            f"installation {ours}, the storage to none. Check DSPT_STORAGE_URL. To use this "
            f"storage with this database on purpose, {_ADOPT}."
        )
    return (
        f"The database belongs to installation {ours}, the storage to {theirs}. Check "
        "DSPT_DATABASE_URL and DSPT_STORAGE_URL. To use this storage with this database on "
        f"purpose, {_ADOPT}."
    )
