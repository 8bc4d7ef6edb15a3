"""Make a backup: first the database in one transaction, then the files that it refers to.

Stored files never change and exist before their rows, so that no file is missed in this order.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import Connection, Engine, select
from sqlalchemy import Table as SqlTable

from app.backup import tables
from app.backup.manifest import (
    FILES,
    MANIFEST,
    BackupError,
    Manifest,
    OnProgress,
    StoredFile,
    Table,
    copy_of,
    digest_of,
    read_manifest,
    write_manifest,
)
from app.installation.service import storage_id
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.schema import current_revision
from app.kit.storage import Storage
from dspt.kit.files import atomic_write


@dataclass
class _Reference:
    """A file that a row refers to."""

    key: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass
class _Dump:
    revision: str
    installation: str | None
    tables: dict[str, Table] = field(default_factory=dict)
    references: list[_Reference] = field(default_factory=list)


def back_up(
    context: Context, folder: Path, *, copy_files: bool, on_progress: OnProgress
) -> Manifest:
    """Write a backup to a new folder, or bring the backup in `folder` up to date.

    The service may run meanwhile. Raises BackupError.
    """
    _check_folder(context, folder)
    now = datetime.now(UTC)
    name = f"database-{now:%Y%m%dT%H%M%S%fZ}"
    (folder / name).mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)  # it contains photos and the digests of keys
    dump = _dump_database(context, folder / name)
    files, missing = [], []
    for file in _files(
        context.storage, dump.references, folder if copy_files else None, on_progress
    ):
        if isinstance(file, StoredFile):
            files.append(file)
        else:
            missing.append(file)
    listing = "".join(file.model_dump_json() + "\n" for file in files).encode()
    atomic_write(folder / name / FILES, listing)
    manifest = Manifest(
        created_at=now,
        dspt=version("dspt"),
        revision=dump.revision,
        installation=dump.installation,
        dump=name,
        tables=dump.tables,
        files=len(files),
        files_bytes=sum(file.size_bytes for file in files),
        files_sha256=hashlib.sha256(listing).hexdigest(),
        copied=copy_files,
        missing=missing,
    )
    write_manifest(folder, manifest)
    _remove_outdated(folder, manifest, {file.key for file in files})
    return manifest


def _check_folder(context: Context, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise BackupError(f"{folder} is not a folder.")
    if (folder / MANIFEST).exists():
        earlier = read_manifest(folder).installation
        if earlier not in (None, storage_id(context.storage)):
            raise BackupError(
                f"{folder} is a backup of another installation ({earlier}); choose another folder."
            )
    elif folder.is_dir() and any(not p.name.startswith("database-") for p in folder.iterdir()):
        raise BackupError(f"{folder} is not empty and not a backup; choose another folder.")


def _dump_database(context: Context, target: Path) -> _Dump:
    """Write all tables, as they are at one moment."""
    with _snapshot(context.database.engine) as connection:
        revision = current_revision(connection)
        if revision is None:
            raise BackupError("The database is empty; there is nothing to back up.")
        found = {table.name: table for table in tables.tables_of(connection)}
        dump = _Dump(revision, _installation(connection, found))
        if dump.installation is not None and dump.installation != storage_id(context.storage):
            raise BackupError(
                "Database and storage do not belong together. Check DSPT_DATABASE_URL and "
                "DSPT_STORAGE_URL."
            )
        for name, table in found.items():
            dump.tables[name] = tables.dump(connection, table, target / f"{name}.jsonl")
        dump.references.extend(_references(connection, found))
    return dump


def _snapshot(engine: Engine) -> Connection:
    """Return a connection in a transaction that sees one moment of the database."""
    connection = engine.connect()
    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
    else:
        connection.begin()
    return connection


def _installation(connection: Connection, found: Mapping[str, SqlTable]) -> str | None:
    table = found.get("installation")
    if table is None:
        return None
    own: str | None = connection.scalar(select(table.c.id))
    return own


def _references(connection: Connection, found: Mapping[str, SqlTable]) -> Iterator[_Reference]:
    datasets, models, jobs = (found[name] for name in ("datasets", "models", "jobs"))
    for row in _rows(connection, datasets):
        if row.get("expired_at") is None:
            key = storage_keys.dataset(row["id"], corrections=row.get("parent_id") is not None)
            yield _Reference(key, row["size_bytes"], row["sha256"])
    for row in _rows(connection, models):
        yield _Reference(storage_keys.model(row["id"]), row["size_bytes"], row["sha256"])
    if (batches := found.get("batches")) is not None:
        unfinished = batches.c.dataset_id.is_(None) & (batches.c.status != Status.SUCCEEDED)
        query = select(batches.c.id, batches.c.size_bytes).where(unfinished)
        for id_, size in connection.execute(query):
            yield _Reference(storage_keys.batch(id_), size)
    if (captured := found.get("captured_predictions")) is not None:
        for id_, size in connection.execute(select(captured.c.id, captured.c.size_bytes)):
            yield _Reference(storage_keys.capture(id_), size)
    for name in ("audit_key", "predictions_key"):
        if name in jobs.c:  # not in an older schema
            column = jobs.c[name]
            for key in connection.scalars(select(column).where(column.is_not(None))):
                yield _Reference(key)


def _rows(connection: Connection, table: SqlTable) -> Iterator[Mapping[str, Any]]:
    wanted = ("id", "parent_id", "expired_at", "size_bytes", "sha256")
    columns = [table.c[name] for name in wanted if name in table.c]
    for row in connection.execute(select(*columns)).mappings():
        yield dict(row)


def _files(
    storage: Storage, references: list[_Reference], folder: Path | None, on_progress: OnProgress
) -> Iterator[StoredFile | str]:
    """Copy the files, if there is a folder; yield each, or the key of a missing or damaged one."""
    sizes = {file.name: file.size_bytes for file in storage.files()}
    done, total = 0, sum(sizes.get(reference.key, 0) for reference in references)
    for reference in references:
        size = sizes.get(reference.key)
        if size is None or reference.size_bytes not in (None, size):
            yield reference.key
            continue
        on_progress(done, total)
        try:
            sha256 = _digest(storage, reference, size, folder)
        except FileNotFoundError:  # deleted since it was listed
            yield reference.key
            continue
        done += size
        on_progress(done, total)
        if reference.sha256 not in (None, sha256):
            yield reference.key
        else:
            yield StoredFile(key=reference.key, size_bytes=size, sha256=sha256)


def _digest(storage: Storage, reference: _Reference, size: int, folder: Path | None) -> str:
    """Return the digest of a file, copied to `folder` if given. Raises FileNotFoundError."""
    if folder is None:
        if reference.sha256 is not None:
            return reference.sha256
        return hashlib.sha256(storage.read_bytes(reference.key)).hexdigest()
    copy = copy_of(folder, reference.key)
    if copy.is_file() and copy.stat().st_size == size:  # from an earlier backup
        sha256 = digest_of(copy)
        if reference.sha256 in (None, sha256):
            return sha256
    copy.parent.mkdir(parents=True, exist_ok=True)
    part = copy.with_name(storage_keys.part(copy.name))
    try:
        with storage.open(reference.key) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
            target.flush()
            os.fsync(target.fileno())
        part.replace(copy)
    finally:
        part.unlink(missing_ok=True)
    return digest_of(copy)


def _remove_outdated(folder: Path, manifest: Manifest, keys: set[str]) -> None:
    """Remove earlier dumps, and copies of files that the database no longer refers to."""
    for path in folder.glob("database-*"):
        if path.name != manifest.dump:
            shutil.rmtree(path)
    if not manifest.copied:
        return
    copies = folder / "files"
    for path in copies.rglob("*"):
        name = path.relative_to(copies).as_posix()
        if name not in keys and storage_keys.is_own(name):
            path.unlink()
