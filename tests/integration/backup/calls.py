"""The commands in this process, and what a backup contains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dspt_client.schemas.status import Status
from sqlalchemy import select, text, update
from typer.testing import Result

from app.backup.create import back_up
from app.backup.manifest import Manifest, read_manifest
from app.kit import storage_keys
from app.kit.context import Context
from app.tables.batches import Batch
from app.tables.captures import CapturedPrediction
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model
from tests.commands import invoke

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


def root_of(context: Context) -> Path:
    return Path(context.storage.url.removeprefix("file://"))
