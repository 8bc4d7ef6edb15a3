"""Backups: complete, of one moment, verified."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dspt_client.schemas.status import Status
from sqlalchemy import select

from app.backup.manifest import read_manifest
from app.kit.context import Context
from app.tables.jobs import Job, JobEvent
from app.tables.models import Model
from tests.integration.backup.calls import (
    done,
    dspt,
    into_postgres,
    into_sqlite,
    into_the_other,
    make_backup,
    refused,
)
from tests.integration.databases import on_sqlite
from tests.integration.jobs import bring_to, files_in


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
