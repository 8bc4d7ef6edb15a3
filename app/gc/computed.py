"""Encoded photos and checkpoints in the storage: deleted at once, as they can be computed again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta

from dspt_client.schemas.status import TERMINAL
from sqlalchemy import select

from app.gc.findings import Finding, Kind
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.storage import Stored
from app.tables.jobs import Job


def collect_computed(
    context: Context,
    files: Collection[Stored],
    needed: Collection[str],
    now: datetime,
    dry_run: bool,
) -> Iterator[Finding]:
    """Delete encoded photos that are too old or of deleted data sets, and old checkpoints.

    needed: the keys of all files that the database refers to.
    """
    days = context.settings.keep_features_days
    before = datetime.min.replace(tzinfo=UTC) if days is None else now - timedelta(days=days)
    with context.database.read() as session:
        unfinished = {*session.scalars(select(Job.id).where(Job.status.not_in(TERMINAL)))}
    for file in files:
        dataset_id, job_id = storage_keys.dataset_of(file.name), storage_keys.job_of(file.name)
        if job_id is not None:
            kept = job_id in unfinished
        else:
            assert dataset_id is not None
            photos = storage_keys.dataset(dataset_id, corrections=False)
            kept = photos in needed and file.modified_at >= before
        if kept:
            continue
        if not dry_run:
            context.storage.remove(file.name)
        kind = Kind.CHECKPOINT if job_id else Kind.FEATURES
        yield Finding(kind, file.name, size_bytes=file.size_bytes)
