"""What tests of garbage collection do to files and jobs, and what it finds."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from app.gc.findings import Kind
from app.gc.service import collect
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from tests.integration.jobs import claim, files_in

DAY = timedelta(days=1)

KEY = storage_keys.model(new_id("mdl"))


def own_keys() -> list[str]:
    """One key of each shape."""
    return [
        storage_keys.dataset(new_id("ds"), corrections=False),
        storage_keys.dataset(new_id("ds"), corrections=True),
        storage_keys.model(new_id("mdl")),
        storage_keys.audit(new_id("mdl")),
        storage_keys.capture(new_id("prd")),
        storage_keys.check(),
    ]


def root_of(context: Context) -> Path:
    return Path(context.storage.url.removeprefix("file://"))


def in_trash(context: Context) -> set[str]:
    return {name for name in files_in(context) if name.startswith("trash/")}


def age(context: Context, key: str) -> None:
    """Make a stored file two hours old."""
    old = time.time() - 7200
    os.utime(root_of(context) / key, (old, old))


def keeping(context: Context, **days: float) -> Context:
    """The same, with other settings."""
    settings = context.settings.model_copy(update=days)
    return Context(settings, context.database, context.storage)


def found(context: Context, *, dry_run: bool = False, grace: float = 0) -> list[tuple[Kind, str]]:
    findings = collect(context, dry_run=dry_run, grace_seconds=grace)
    return [(finding.kind, finding.name) for finding in findings]


def end(context: Context, job_id: str, ago: timedelta) -> None:
    """Fail the job, and shift its end into the past."""
    claim(context, job_id).fail({"code": "x", "message": "y", "param": None, "problems": []})
    with context.database.write() as session:
        at = datetime.now(UTC) - ago
        session.execute(update(Job).where(Job.id == job_id).values(finished_at=at, created_at=at))
        session.execute(update(Dataset).values(created_at=at))
