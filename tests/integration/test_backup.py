"""Backups: complete, of one moment, verified, and restored into any database."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from dspt_client.schemas.status import Status
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DatabaseError
from typer.testing import Result

from app.access import keys
from app.backup.create import back_up
from app.backup.manifest import Manifest, read_manifest
from app.installation.service import ensure, storage_id
from app.jobs import repository
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.ids import new_id
from app.kit.schema import current_revision, migrating
from app.tables.batches import Batch
from app.tables.captures import CapturedPrediction
from app.tables.datasets import Dataset
from app.tables.jobs import Job, JobEvent
from app.tables.models import Model
from tests.commands import invoke
from tests.integration.conftest import settings_for
from tests.integration.jobs import ERROR, add_job, bring_to, claim, files_in, statuses

ALL_STATES = tuple(Status)

into_the_other = pytest.mark.parametrize(
    ("migrated", "empty_database_url"),
    [("sqlite", "postgresql"), ("postgresql", "sqlite")],
    indirect=True,
)
into_sqlite = pytest.mark.parametrize(
    ("migrated", "empty_database_url"), [("postgresql", "sqlite")], indirect=True
)
into_postgres = pytest.mark.parametrize(
    ("migrated", "empty_database_url"), [("sqlite", "postgresql")], indirect=True
)
on_sqlite = pytest.mark.parametrize("migrated", ["sqlite"], indirect=True)


@pytest.fixture
def filled(context: Context) -> Context:
    """Jobs in every state, with files, events, corrections and a key."""
    for status in ALL_STATES:
        job_id = bring_to(context, status)
        with context.database.write() as session:
            repository.add_event(session, job_id, "metrics", {"loss": 0.1, "ä": [None, 1e-300]})
    with context.database.write() as session:
        keys.create(session, "ann", "ann", [Scope.READ])
        parent = session.scalars(select(Dataset).order_by(Dataset.id.desc())).first()
        assert parent is not None
        session.add(
            Dataset(
                id="ds_" + "0" * 26,  # before its parent by id, as the clocks of machines differ
                owner="local",
                identity="corrections",
                sha256="",
                size_bytes=0,
                filename="a.zip",
                created_at=datetime.now(UTC),
                parent_id=parent.id,
                relabelled=1,
                dropped=0,
            )
        )
        session.add(
            Dataset(
                id="ds_" + "0" * 25 + "1",
                owner="local",
                identity="photos added to the corrections",
                sha256="",
                size_bytes=0,
                filename="more.zip",
                created_at=datetime.now(UTC),
                base_id="ds_" + "0" * 26,
                root_id=parent.id,
                version=3,
            )
        )
        now = datetime.now(UTC)
        session.add(
            Batch(
                id=new_id("bat"),
                owner="local",
                name="a",
                status="queued",
                created_at=now,
                queued_at=now,
                model_id=new_id("mdl"),
                filename="a.zip",
                size_bytes=7,
                options={},
                request_sha256="",
            )
        )
        model = session.scalars(select(Model)).first()
        assert model is not None
        session.add(
            CapturedPrediction(
                id=new_id("prd"),
                owner="local",
                model_id=model.id,
                created_at=now,
                file="a.png",
                predicted="cat",
                score=0.5,
                margin=0.1,
                features="AAA=",
                size_bytes=7,
            )
        )
    store_files(context)
    return context


@pytest.fixture
def target(empty_database_url: str, tmp_path: Path) -> Iterator[Context]:
    """An empty database and an empty storage."""
    opened = Context.open(settings_for(empty_database_url, tmp_path / "target"))
    yield opened
    opened.close()


def store_files(context: Context) -> None:
    """Store a file for every row that refers to one, and write its size and digest to the row."""
    content = b"content"
    digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    with context.database.write() as session:
        for table in (Dataset, Model):
            session.execute(update(table).values(size_bytes=len(content), sha256=digest))
        rows = [*session.scalars(select(Dataset)), *session.scalars(select(Model))]
        names = [row.storage_key for row in rows]
        names += [storage_keys.batch(id_) for id_ in session.scalars(select(Batch.id))]
        names += [row.storage_key for row in session.scalars(select(CapturedPrediction))]
        names += [key for key in session.scalars(select(Job.audit_key)) if key is not None]
    for name in names:
        context.storage.put_bytes(name, content)


def dspt(context: Context, *arguments: str | Path) -> Result:
    return invoke(
        arguments,
        env={
            "DSPT_DATA_DIR": str(context.settings.data_dir),
            "DSPT_DATABASE_URL": context.settings.database_url,
            "DSPT_STORAGE_URL": context.settings.storage_url,
        },
    )


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    return result.output


def make_backup(context: Context, folder: Path, *, copy_files: bool = True) -> Manifest:
    return back_up(context, folder, copy_files=copy_files, on_progress=lambda _done, _total: None)


def rows(folder: Path) -> dict[str, list[Any]]:
    manifest = read_manifest(folder)
    return {
        name: [
            json.loads(line)
            for line in (folder / manifest.dump / f"{name}.jsonl").read_bytes().splitlines()
        ]
        for name in manifest.tables
        if name != "installation"
    }


def lose_database(context: Context) -> None:
    """Drop everything in the database, as if its disk was lost."""
    context.database.close()
    if context.database.engine.dialect.name == "sqlite":
        for path in Path(str(context.database.engine.url.database)).parent.glob("*.db*"):
            path.unlink()
        return
    with context.database.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    context.database.close()


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


@into_the_other
def test_a_restore_replaces_rows_only_on_request(
    filled: Context, target: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    make_backup(filled, folder)
    assert "not empty" not in done(dspt(target, "restore", folder))
    extra = bring_to(target, Status.RUNNING)
    assert "The database is not empty." in refused(dspt(target, "restore", folder))
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
    with migrating(empty_database_url) as (connection, config):
        command.upgrade(config, "0005")
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


@into_postgres
def test_a_damaged_backup_is_refused_whole(
    filled: Context, target: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    manifest = make_backup(filled, folder)
    copies = sorted(path for path in (folder / "files").rglob("*") if path.is_file())
    copies[-1].write_bytes(b"CONTENT")
    told = refused(dspt(filled, "backup", folder, "--check"))
    assert f"{copies[-1]} is damaged" in told
    assert "has changed. Nothing was restored." in refused(dspt(target, "restore", folder))
    copies[-1].write_bytes(b"content")

    table = folder / manifest.dump / "jobs.jsonl"
    table.write_bytes(table.read_bytes().replace(b"running", b"failed "))
    assert "jobs.jsonl is damaged" in refused(dspt(filled, "backup", folder, "--check"))
    assert "jobs.jsonl is damaged" in refused(dspt(target, "restore", folder))
    with target.database.engine.connect() as connection:
        assert not connection.dialect.has_table(connection, "jobs")

    (folder / "backup.json").unlink()
    assert "not a complete backup" in refused(dspt(target, "restore", folder))


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


@on_sqlite
def test_missing_and_damaged_files_are_reported_at_backup(filled: Context, tmp_path: Path) -> None:
    names = sorted(files_in(filled))
    audit, dataset, model = (
        next(name for name in names if name.startswith(f"{folder}/"))
        for folder in ("audits", "datasets", "models")
    )
    filled.storage.delete(audit)
    filled.storage.put_bytes(dataset, b"longer than it was")
    filled.storage.put_bytes(model, b"CONTENT")
    told = refused(dspt(filled, "backup", tmp_path / "backup"))
    assert "3 files that the database refers to are missing from the storage or damaged" in told
    assert set(read_manifest(tmp_path / "backup").missing) == {audit, dataset, model}


@on_sqlite
def test_a_backup_is_brought_up_to_date(filled: Context, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    first = make_backup(filled, folder)
    foreign = folder / "files" / "notes.txt"
    foreign.write_text("of the operator")
    copies = {path: path.stat().st_mtime_ns for path in (folder / "files").rglob("*.zip")}
    with filled.database.write() as session:
        model = session.scalars(select(Model)).one()
        session.delete(model)
    done(dspt(filled, "backup", folder))
    second = read_manifest(folder)
    assert (first.files, second.files) == (13, 12)
    assert [path.name for path in folder.glob("database-*")] == [second.dump]
    assert {path: path.stat().st_mtime_ns for path in copies} == copies
    assert not (folder / "files" / model.storage_key).exists()
    assert foreign.exists()
    done(dspt(filled, "backup", folder, "--check"))


@into_sqlite
def test_a_backup_overwrites_no_other_folder(
    filled: Context, target: Context, tmp_path: Path
) -> None:
    make_backup(filled, tmp_path / "backup")
    done(dspt(target, "storage", "adopt"))
    told = refused(dspt(target, "backup", tmp_path / "backup"))
    assert "is a backup of another installation" in told  # after a loss: a new, empty database
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    told = refused(dspt(filled, "backup", tmp_path / "photos"))
    assert "is not empty and not a backup" in told
    assert refused(dspt(filled, "backup", tmp_path / "photos" / "a.jpg"))


@into_the_other
def test_a_backup_shows_one_moment_while_the_service_works(
    context: Context, target: Context, tmp_path: Path
) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            bring_to(context, Status.FAILED)

    bring_to(context, Status.FAILED)
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        try:
            for _ in range(5):
                manifest = make_backup(context, tmp_path / "backup", copy_files=False)
        finally:
            stop.set()
        working.result()
    assert manifest.tables["jobs"].rows == manifest.tables["datasets"].rows > 1
    done(dspt(target, "restore", tmp_path / "backup", "--incomplete"))
    with target.database.read() as session:
        for job in session.scalars(select(Job)):
            events = session.scalars(select(JobEvent.seq).where(JobEvent.job_id == job.id))
            assert sorted(events) == list(range(1, job.event_seq + 1))


def root_of(context: Context) -> Path:
    return Path(context.storage.url.removeprefix("file://"))
