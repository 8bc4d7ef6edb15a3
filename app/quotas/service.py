"""Quotas: jobs, batches, comparisons and bytes per owner, and the length of the queue.

Exact under concurrency: `check_job` and `check_bytes` run last in the transaction that adds a job
or bytes, include its additions, and hold an advisory lock until it commits.
"""

from __future__ import annotations

from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.kit.db import lock_until_commit
from app.kit.http.errors import ServiceUnavailable, TooManyRequests
from app.kit.settings import Settings
from app.tables.batches import Batch
from app.tables.captures import CapturedPrediction
from app.tables.comparisons import Comparison
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model
from app.tables.uploads import Upload

#: Advisory lock number; arbitrary, but unique within the database.
_LOCK = 0x64737075

#: Tables of what workers do, which count together.
_LEASED = (Job, Batch, Comparison)

#: Retry-After in seconds: a job takes minutes, and space is freed by hand.
_RETRY_JOBS, _RETRY_BYTES = "60", "3600"


def check_job(session: Session, settings: Settings, owner: str) -> None:
    """Raise TooManyRequests or ServiceUnavailable if this job, batch or comparison is too many."""
    session.flush()  # may wait for a transaction that adds the same row; so before the lock
    lock_until_commit(session, _LOCK)
    _check(session, settings, owner, 0)


def check_bytes(session: Session, settings: Settings, owner: str) -> None:
    """Raise TooManyRequests if the stored bytes of `owner` exceed the quota."""
    session.flush()  # may wait for a transaction that adds the same row; so before the lock
    lock_until_commit(session, _LOCK)
    _check_bytes(session, settings, owner, 0)


def check_early(session: Session, settings: Settings, owner: str, more_bytes: int) -> None:
    """Raise what adding `more_bytes` and a job would raise now."""
    _check(session, settings, owner, 1)
    _check_bytes(session, settings, owner, more_bytes)


def check_more_bytes(session: Session, settings: Settings, owner: str, more_bytes: int) -> None:
    """Raise what adding `more_bytes` would raise now."""
    _check_bytes(session, settings, owner, more_bytes)


def _check(session: Session, settings: Settings, owner: str, more: int) -> None:
    limit = settings.max_queued_jobs_per_owner
    unfinished = (
        select(func.count()).where(table.owner == owner, table.status.not_in(sorted(TERMINAL)))
        for table in _LEASED
    )
    if _sum(session, *unfinished) + more > limit:
        raise TooManyRequests(
            f"You have {limit} unfinished jobs, batches and comparisons, the maximum per owner "
            "(DSPT_MAX_QUEUED_JOBS_PER_OWNER). Wait for one to end, or cancel one.",
            code="quota_jobs",
            headers={"Retry-After": _RETRY_JOBS},
        )
    queued = (select(func.count()).where(table.status == Status.QUEUED) for table in _LEASED)
    if _sum(session, *queued) + more > settings.max_queued_jobs:
        raise ServiceUnavailable(
            "The queue is full (DSPT_MAX_QUEUED_JOBS). Nothing was stored. Retry later.",
            code="queue_full",
            headers={"Retry-After": _RETRY_JOBS},
        )


def _check_bytes(session: Session, settings: Settings, owner: str, more: int) -> None:
    datasets = select(func.coalesce(func.sum(Dataset.size_bytes), 0)).where(
        Dataset.owner == owner, Dataset.expired_at.is_(None)
    )
    models = select(func.coalesce(func.sum(Model.size_bytes), 0)).where(Model.owner == owner)
    uploads = select(func.coalesce(func.sum(Upload.reserved_bytes), 0)).where(Upload.owner == owner)
    batches = select(func.coalesce(func.sum(Batch.size_bytes), 0)).where(
        Batch.owner == owner, Batch.status != Status.SUCCEEDED
    )
    captured = select(func.coalesce(func.sum(CapturedPrediction.size_bytes), 0)).where(
        CapturedPrediction.owner == owner
    )
    stored = _sum(session, datasets, models, uploads, batches, captured)
    limit = settings.max_stored_bytes_per_owner
    if stored + more > limit:
        raise TooManyRequests(
            f"Your data sets, uploads, zips of batches, models and captured photos would exceed "
            f"{limit:,} bytes, the maximum per owner (DSPT_MAX_STORED_BYTES_PER_OWNER). Delete "
            "models, batches that failed or were cancelled, jobs whose photos are no longer "
            "needed, or data sets that no job uses.",
            code="quota_bytes",
            headers={"Retry-After": _RETRY_BYTES},
        )


def _sum(session: Session, *counts: Select[int]) -> int:
    """Return the sum of single numbers; a sum of big integers is a Decimal on PostgreSQL."""
    return sum(int(session.scalar(count) or 0) for count in counts)
