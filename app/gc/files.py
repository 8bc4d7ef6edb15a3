"""Garbage among the stored files: moved to the trash first, deleted from there later.

Only files of names that this service writes are touched. A file is moved only if no row refers to
it and it is older than `grace_seconds`: files are stored before their rows are written, so a new
file may be about to get its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.gc.computed import collect_computed
from app.gc.findings import Finding, Kind
from app.installation.references import referenced_keys
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.storage import Stored
from app.tables.datasets import Dataset
from app.tables.jobs import Job

#: One round moves at most this many files, or this share of all files, whichever is smaller.
_MAX_FILES, _MAX_SHARE = 1000, 0.1
#: But always this many, because a tenth of a small storage is nothing.
_ALWAYS_FILES = 20


class TooMuchGarbageError(Exception):
    """More files would be moved than a healthy service ever leaves behind."""


def collect_files(
    context: Context, *, dry_run: bool, force: bool, grace_seconds: float
) -> Iterator[Finding]:
    """Move garbage to the trash, delete old trash, and bring back what is needed.

    Raises TooMuchGarbageError before anything is moved to the trash, except with `force` or
    `dry_run`.
    """
    with context.database.read() as session:
        now = database_now(session)
    # List files before rows: a file whose row is written after this is too new anyway.
    files, in_trash, computed = _list(context)
    with context.database.read() as session:
        needed = referenced_keys(session)
        expired = _unused_datasets(session, context, now)
    yield from collect_computed(context, computed, needed, now, dry_run)
    yield from _empty_trash(context, in_trash, {*files}, needed, now.date(), dry_run)
    old = now - timedelta(seconds=grace_seconds)
    orphans = [f for f in files.values() if f.modified_at <= old and f.name not in needed]
    moving = len(orphans) + len(expired)
    if moving > move_limit(len(files)) and not force and not dry_run:
        raise TooMuchGarbageError(
            f"Garbage collection stopped: it would move {moving:,} of {len(files):,} stored files "
            f"to the trash, and at most {move_limit(len(files)):,} are moved at once. Check that "
            "DSPT_DATABASE_URL and DSPT_STORAGE_URL are right and that no retention setting is too "
            "short. `dspt gc --dry-run` lists the files; `dspt gc --force` moves them."
        )
    yield from _expire_datasets(context, expired, now.date(), dry_run)
    for file in orphans:
        if not dry_run:
            _move(context, file.name, storage_keys.trash(file.name, now.date()))
        yield Finding(Kind.ORPHAN, file.name, size_bytes=file.size_bytes)


def move_limit(stored: int) -> int:
    """Return how many of `stored` files one round may move to the trash."""
    return max(_ALWAYS_FILES, min(_MAX_FILES, int(stored * _MAX_SHARE)))


def _list(
    context: Context,
) -> tuple[dict[str, Stored], list[tuple[storage_keys.Trashed, Stored]], list[Stored]]:
    """Return this service's files by name, its files in the trash, and computed files."""
    files, in_trash, computed = {}, [], []
    for file in context.storage.files():
        if storage_keys.is_own(file.name):
            files[file.name] = file
        elif trashed := storage_keys.trashed(file.name):
            in_trash.append((trashed, file))
        elif storage_keys.dataset_of(file.name) or storage_keys.job_of(file.name):
            computed.append(file)
    return files, in_trash, computed


def _empty_trash(
    context: Context,
    in_trash: list[tuple[storage_keys.Trashed, Stored]],
    present: set[str],
    needed: set[str],
    today: date,
    dry_run: bool,
) -> Iterator[Finding]:
    for trashed, file in in_trash:
        if trashed.name in needed:  # a row came back, for example with a backup
            if trashed.name in present:
                continue
            if not dry_run:
                _move(context, file.name, trashed.name)
            yield Finding(Kind.NEEDED, trashed.name, size_bytes=file.size_bytes)
        elif trashed.day + timedelta(days=context.settings.trash_days) < today:
            if not dry_run:
                context.storage.remove(file.name)
            yield Finding(Kind.TRASH, file.name, size_bytes=file.size_bytes)


def _move(context: Context, name: str, target: str) -> None:
    with suppress(FileNotFoundError):  # moved or deleted by another process
        context.storage.move(name, target)


def _unused_datasets(
    session: Session, context: Context, now: datetime, only: str | None = None
) -> list[Dataset]:
    """Return the zips, with all made from them, that no job used for the retention time.

    `only`: of this first zip.
    """
    if context.settings.keep_datasets_days is None:
        return []
    before = now - timedelta(days=context.settings.keep_datasets_days)
    zip_file, member, job = aliased(Dataset), aliased(Dataset), aliased(Job)
    family = or_(
        member.id == zip_file.id, member.parent_id == zip_file.id, member.root_id == zip_file.id
    )
    used = select(job.id).where(
        job.dataset_id == member.id, or_(job.finished_at.is_(None), job.finished_at > before)
    )
    in_use = select(member.id).where(
        family,
        member.expired_at.is_(None),
        or_(member.created_at > before, used.correlate(member).exists()),
    )
    zips = select(zip_file.id).where(
        zip_file.parent_id.is_(None),
        zip_file.base_id.is_(None),
        zip_file.expired_at.is_(None),
        ~in_use.correlate(zip_file).exists(),
    )
    if only is not None:
        zips = zips.where(zip_file.id == only)
    unused = select(Dataset).where(
        func.coalesce(Dataset.root_id, Dataset.parent_id, Dataset.id).in_(zips),
        Dataset.expired_at.is_(None),
    )
    return list(session.scalars(unused.order_by(Dataset.id)))


def _expire_datasets(
    context: Context, unused: list[Dataset], today: date, dry_run: bool
) -> Iterator[Finding]:
    gone = unused
    if not dry_run:
        zips = [dataset.id for dataset in unused if dataset.family_id == dataset.id]
        gone = [dataset for zip_id in zips for dataset in _expire(context, zip_id)]
    for dataset in gone:
        # After the commit: a crash may leave a file without a row, never the reverse.
        if not dry_run:
            _move(context, dataset.storage_key, storage_keys.trash(dataset.storage_key, today))
        yield Finding(Kind.DATASET, dataset.id, size_bytes=dataset.size_bytes)


def _expire(context: Context, zip_id: str) -> list[Dataset]:
    """Mark a first zip and all made from it as expired if they are still unused; return them."""
    family = or_(Dataset.id == zip_id, Dataset.parent_id == zip_id, Dataset.root_id == zip_id)
    with context.database.write() as session:
        # Locked against the concurrent creation of a job; the zip first, as that does, to avoid a
        # deadlock.
        session.execute(
            select(Dataset.id)
            .where(family)
            .order_by(Dataset.id != zip_id, Dataset.id)
            .with_for_update()
        )
        now = database_now(session)
        datasets = _unused_datasets(session, context, now, zip_id)
        for dataset in datasets:  # so that the same photos can be uploaded again
            session.execute(
                update(Dataset)
                .where(Dataset.id == dataset.id)
                .values(expired_at=now, identity=f"expired {dataset.id}")
            )
    return datasets
