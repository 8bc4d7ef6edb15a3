"""Backups restored into any database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from alembic import command
from dspt_client.schemas.status import Status
from sqlalchemy import delete, text
from sqlalchemy.exc import DatabaseError

from app.installation.service import ensure, storage_id
from app.jobs import repository
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.kit.leader import Leader
from app.kit.schema import alembic_config, current_revision, migrating
from app.serve.lock import lock_data_dir
from app.tables.datasets import Dataset
from app.tables.jobs import JobEvent
from tests.integration.backup.calls import (
    ALL_STATES,
    done,
    dspt,
    into_sqlite,
    into_the_other,
    lose_database,
    make_backup,
    refused,
    root_of,
    rows,
)
from tests.integration.conftest import settings_for
from tests.integration.jobs import ERROR, add_job, bring_to, claim, files_in, statuses


def test_a_backup_restores_every_row_and_file_into_any_database(
    filled: Context, target: Context, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    told = done(dspt(filled, "backup", first))
    assert "Backed up 13 files (91 bytes)" in told
    assert "is sound: " in done(dspt(filled, "backup", first, "--check"))

    told = done(dspt(target, "restore", first))
    assert "0 in place, 13 copied from the backup, 0 moved back from the trash, 0 missing" in told
    make_backup(target, second)
    before = rows(first)
    assert rows(second) == before
    assert {len(before["jobs"]), len(before["datasets"])} == {len(ALL_STATES), len(ALL_STATES) + 2}
    assert files_in(target) == files_in(filled)
    ensure(target)
    assert storage_id(target.storage) != storage_id(filled.storage)  # it is a copy

    # The database guards its rows as before, and jobs go on.
    insert = text("INSERT INTO jobs SELECT * FROM jobs WHERE status = 'running'")
    with pytest.raises(DatabaseError, match="begins as queued"), target.database.write() as session:
        session.execute(insert)
    with pytest.raises(DatabaseError, match="append-only"), target.database.write() as session:
        session.execute(delete(JobEvent))
    new = add_job(target)
    claim(target, new).fail(ERROR)
    assert statuses(target, new) == ["queued", "validating", "failed"]


def test_a_lost_database_comes_back(filled: Context, tmp_path: Path) -> None:
    """The storage has survived: nothing is copied, and its id stays."""
    folder, installation = tmp_path / "backup", storage_id(filled.storage)
    before = files_in(filled)
    make_backup(filled, folder, copy_files=False)
    assert not (folder / "files").exists()
    later = storage_keys.model(new_id("mdl"))
    filled.storage.put_bytes(later, b"later")
    gone = next(name for name in before if name.startswith("audits/"))
    filled.storage.move(gone, storage_keys.trash(gone, date(2026, 1, 2)))
    lose_database(filled)

    told = done(dspt(filled, "restore", folder))
    assert "12 in place, 0 copied from the backup, 1 moved back from the trash, 0 missing" in told
    ensure(filled)
    assert storage_id(filled.storage) == installation
    assert files_in(filled) == before | {later}


@contextmanager
def running_service(context: Context) -> Iterator[str]:
    """Hold what a running service holds; yield what a restore says about it."""
    if (file := context.settings.sqlite_file) is not None:
        with lock_data_dir(file.parent / "serve.lock", "http://127.0.0.1:1234"):
            yield "DSPT already runs on"
        return
    leader = Leader(context.database, [], 1)
    leader.start()
    yield "An API process uses this database."
    leader.close()


@into_the_other
def test_a_restore_replaces_rows_only_on_request(
    filled: Context, target: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    make_backup(filled, folder)
    assert "not empty" not in done(dspt(target, "restore", folder))
    extra = bring_to(target, Status.RUNNING)
    assert "The database is not empty." in refused(dspt(target, "restore", folder))
    with running_service(target) as told:
        assert told in refused(dspt(target, "restore", folder, "--replace"))
    with target.database.read() as session:
        assert repository.get(session, extra) is not None
    done(dspt(target, "restore", folder, "--replace"))
    with target.database.read() as session:
        assert repository.get(session, extra) is None
    make_backup(target, tmp_path / "second")
    assert rows(tmp_path / "second") == rows(folder)


def test_a_database_is_backed_up_before_its_schema_is_migrated(
    empty_database_url: str, tmp_path: Path, target: Context
) -> None:
    with migrating(empty_database_url) as connection:
        command.upgrade(alembic_config(connection), "0005")
    old = Context.open(settings_for(empty_database_url, tmp_path / "old"))
    with old.database.write() as session:
        session.execute(
            text(
                "INSERT INTO datasets (id, owner, sha256, identity, size_bytes, filename, "
                "created_at) VALUES ('ds_1', 'local', 'ab', 'cd', 1, 'a.zip', "
                "'2026-01-02 03:04:05.000006')"
            )
        )
    folder = tmp_path / "backup"
    manifest = make_backup(old, folder, copy_files=False)
    assert (manifest.revision, manifest.installation) == ("0005", None)
    assert manifest.missing == ["datasets/ds_1.zip"]
    with old.database.engine.connect() as connection:
        assert not connection.dialect.has_table(connection, "installation")
    done(dspt(old, "restore", folder, "--replace", "--keep-schema"))
    with old.database.engine.connect() as connection:
        assert current_revision(connection) == "0005"  # for the older version
    lose_database(old)
    done(dspt(old, "restore", folder))
    ensure(old)
    with old.database.read() as session:
        restored = session.get_one(Dataset, "ds_1")
    old.close()
    assert restored.created_at == datetime(2026, 1, 2, 3, 4, 5, 6, UTC)


@into_sqlite
def test_an_interrupted_restore_is_repeated(
    filled: Context, target: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    make_backup(filled, folder)
    copies = folder / "files"
    for path in sorted(copies.rglob("*.safetensors")):
        target.storage.put_bytes(path.relative_to(copies).as_posix(), path.read_bytes())
    assert "1 in place, 12 copied" in done(dspt(target, "restore", folder))
    ensure(target)


@into_sqlite
def test_files_that_are_nowhere_stop_a_restore(
    filled: Context, target: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    make_backup(filled, folder, copy_files=False)
    told = refused(dspt(target, "restore", folder))
    assert "13 of 13 files are neither stored nor in the backup" in told
    assert "--incomplete" in told
    assert "13 missing" in done(dspt(target, "restore", folder, "--incomplete"))


@into_sqlite
def test_a_storage_of_another_installation_is_refused(
    filled: Context, target: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    make_backup(filled, folder)
    done(dspt(target, "storage", "adopt"))  # gives it an id
    shutil.copytree(root_of(target), tmp_path / "kept")
    target.storage.put_bytes(storage_keys.INSTALLATION, b'{"id": "ins_other"}')
    told = refused(dspt(target, "restore", folder))
    assert "belongs to ins_other, the backup to ins_" in told
    done(dspt(target, "storage", "adopt"))
    done(dspt(target, "restore", folder))
    ensure(target)
