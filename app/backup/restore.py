"""Restore a backup: first the files that the storage lacks, then the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.util.exc import CommandError
from sqlalchemy import Connection, inspect, text

from app.backup import tables
from app.backup.manifest import (
    BackupError,
    Manifest,
    OnProgress,
    StoredFile,
    copy_of,
    digest_of,
    problems_of_dump,
    read_files,
    read_manifest,
)
from app.installation.service import files_in, mark_database, mark_storage, storage_id
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.kit.leader import Leader
from app.kit.schema import alembic_config, current_revision, migrate, migrating
from app.serve.lock import lock_data_dir


@dataclass
class Restored:
    """What a restore did."""

    manifest: Manifest
    present: int = 0
    """Files that the storage had."""
    from_trash: int = 0
    copied: int = 0
    absent: int = 0
    """Files that are neither in the storage nor in the backup."""


def restore(
    context: Context,
    folder: Path,
    *,
    replace: bool,
    incomplete: bool,
    keep_schema: bool,
    on_progress: OnProgress,
) -> Restored:
    """Restore the backup in `folder`. The service must be stopped.

    A running `dspt serve`, and an API on PostgreSQL, are recognised; a worker by itself is not.
    No stored file is deleted. With `replace` the database may have rows, which are lost; with
    `incomplete` files may be absent; with `keep_schema` the database is not migrated, so that the
    version that made the backup can use it. Raises BackupError, before anything is written if the
    backup is damaged, and ServeError if `dspt serve` runs.
    """
    manifest = read_manifest(folder)
    if problems := list(problems_of_dump(folder, manifest)):
        raise BackupError("The backup is damaged: " + "; ".join(problems) + ".")
    installation = _check_target(context, folder, manifest, replace)
    result = Restored(manifest)
    with _without_service(context):
        _restore_files(context, folder, result, incomplete, on_progress)
        _restore_database(context, folder, manifest, replace)
        if not keep_schema:
            migrate(context.database.url)
        if not keep_schema or manifest.installation is not None:  # the schema has the table
            with context.database.write() as session:
                mark_storage(context.storage, installation)
                mark_database(session, installation)
    return result


@contextmanager
def _without_service(context: Context) -> Iterator[None]:
    """Refuse to go on under a running service, and let no `dspt serve` start meanwhile."""
    if (file := context.settings.sqlite_file) is not None:
        with lock_data_dir(file.parent / "serve.lock", "dspt restore", patience=0):
            yield
        return
    leader = Leader(context.database, [], 1)
    leader.start()
    alone = leader.leads()
    leader.close()
    if not alone:
        raise BackupError("An API process uses this database. Stop it and all workers first.")
    yield


def _check_target(context: Context, folder: Path, manifest: Manifest, replace: bool) -> str:
    """Return the installation id to restore with."""
    with context.database.engine.connect() as connection:
        if not replace and tables.has_data(connection):
            raise BackupError(_NOT_EMPTY)
        ours = None
        if inspect(connection).has_table("installation"):
            ours = connection.scalar(text("SELECT id FROM installation"))
    theirs = storage_id(context.storage)
    if theirs is not None and theirs in (manifest.installation, ours):
        return theirs
    known = {file.key for file in read_files(folder, manifest)}
    if theirs is None and all(storage_keys.whole(f) in known for f in files_in(context.storage)):
        # The storage is empty, or an earlier restore was interrupted. A new id, because a copy of
        # the installation must not be mistaken for the original.
        return new_id("ins")
    raise BackupError(
        f"The storage {context.storage.url} belongs to "
        f"{'no installation' if theirs is None else theirs}, the backup to "
        f"{manifest.installation or 'an earlier version'}. Use the storage of that installation or "
        "an empty one; to use this one on purpose, run `dspt storage adopt` first."
    )


_NOT_EMPTY = (
    "The database is not empty. Restore into an empty one, or replace everything in it with "
    "--replace."
)


def _restore_files(
    context: Context, folder: Path, result: Restored, incomplete: bool, on_progress: OnProgress
) -> None:
    files = read_files(folder, result.manifest)
    sizes, trash = {}, {}
    for stored in context.storage.files():
        sizes[stored.name] = stored.size_bytes
        if trashed := storage_keys.trashed(stored.name):
            trash[trashed.name, stored.size_bytes] = stored.name
    lacking = [file for file in files if sizes.get(file.key) != file.size_bytes]
    absent = [
        file.key
        for file in lacking
        if (file.key, file.size_bytes) not in trash and not copy_of(folder, file.key).is_file()
    ]
    if absent and not incomplete:
        raise BackupError(
            f"{len(absent):,} of {len(files):,} files are neither stored nor in the "
            f"backup, such as {absent[0]}. Check DSPT_STORAGE_URL; to restore without them, add "
            "--incomplete."
        )
    result.present, result.absent = len(files) - len(lacking), len(absent)
    done, total = 0, sum(file.size_bytes for file in lacking)
    for file in lacking:
        on_progress(done, total)
        if copy_of(folder, file.key).is_file():
            _copy(context, folder, file)
            result.copied += 1
        elif name := trash.get((file.key, file.size_bytes)):
            context.storage.move(name, file.key)
            result.from_trash += 1
        done += file.size_bytes
        on_progress(done, total)


def _copy(context: Context, folder: Path, file: StoredFile) -> None:
    path = copy_of(folder, file.key)
    if digest_of(path) != file.sha256:
        raise BackupError(f"The backup is damaged: {path} has changed. Nothing was restored.")
    with path.open("rb") as source:
        context.storage.put(file.key, source)


def _restore_database(context: Context, folder: Path, manifest: Manifest, replace: bool) -> None:
    try:
        with migrating(context.database.url) as connection:
            _clear(connection, replace)
            command.upgrade(alembic_config(connection), manifest.revision)
            found = {table.name: table for table in tables.tables_of(connection)}
            if found.keys() != manifest.tables.keys():
                raise BackupError("The backup has other tables than its schema; it is damaged.")
            with tables.without_triggers(connection, list(found.values())):
                for table in reversed(found.values()):
                    connection.execute(table.delete())
                for name, table in found.items():
                    tables.load(connection, table, folder / manifest.dump / f"{name}.jsonl")
    except CommandError as error:
        raise BackupError(
            f"The database or the backup has a newer schema than this version of DSPT knows "
            f"({error}). Install the version that made it, or a later one."
        ) from error


def _clear(connection: Connection, replace: bool) -> None:
    """Remove all tables; the schema of the backup may be another one."""
    if tables.has_data(connection) and not replace:
        raise BackupError(_NOT_EMPTY)
    if current_revision(connection) is None:
        return
    found = tables.tables_of(connection)
    with tables.without_triggers(connection, found):
        for table in reversed(found):
            connection.execute(table.delete())
    command.downgrade(alembic_config(connection), "base")
