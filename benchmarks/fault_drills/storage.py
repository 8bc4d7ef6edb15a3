"""Files without a database row, and rows without a file."""

from __future__ import annotations

from pathlib import Path

from dspt_client.schemas.status import TERMINAL
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kit.scratch import abandoned
from app.kit.storage_keys import is_own
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model
from benchmarks.fault_drills.stack import Stack


def orphans(stack: Stack) -> set[str]:
    """Return stored files without a row, and files that workers left of jobs that have ended.

    Does not use the service's own `dspt gc`.
    """
    with stack.context.database.read() as session:
        keys = _keys(session)
        jobs = session.scalars(select(Job)).all()
    at_work = {job.id for job in jobs if job.status not in TERMINAL}
    settings = stack.settings
    return {
        *(name for name in _files(settings.data_dir / "storage") - keys if is_own(name)),
        *(
            f"checkpoint {name}"
            for name in _files(settings.checkpoint_dir)
            if name.removeprefix(".").partition(".")[0] not in at_work
        ),
        *(f"scratch {folder.name}" for folder in abandoned(settings.scratch_dir)),
    }


def missing(stack: Stack) -> set[str]:
    """Return files that a row refers to but that do not exist."""
    with stack.context.database.read() as session:
        return _keys(session) - _files(stack.settings.data_dir / "storage")


def _keys(session: Session) -> set[str]:
    keys = {dataset.storage_key for dataset in session.scalars(select(Dataset))}
    keys |= {model.storage_key for model in session.scalars(select(Model))}
    for column in (Job.audit_key, Job.predictions_key):
        keys |= {key for key in session.scalars(select(column)) if key is not None}
    return keys


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
