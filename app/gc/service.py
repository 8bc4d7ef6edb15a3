"""Find and delete garbage.

A stored file is deleted only if no row refers to it and it is older than `grace_seconds`: files are
stored before their rows are written, so a new file may be about to get its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from dspt_client.schemas.status import TERMINAL
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, aliased

from app.gc.findings import GRACE_SECONDS, Finding, Kind
from app.jobs import repository as jobs
from app.kit import scratch
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.datasets import Dataset
from app.tables.jobs import Job, JobEvent
from app.tables.models import Model


def collect(
    context: Context, *, dry_run: bool = False, grace_seconds: float = GRACE_SECONDS
) -> Iterator[Finding]:
    """Delete garbage and yield each deleted item; with `dry_run` only yield.

    Safe alongside running jobs and requests, and in several processes at once.
    """
    yield from _expired_datasets(context, dry_run)
    yield from _expired_events(context, dry_run)
    yield from _orphans(context, dry_run, grace_seconds)
    yield from _expired_features(context, dry_run)
    yield from collect_checkpoints(context, dry_run=dry_run)
    yield from _scratch(context, dry_run)


def _orphans(context: Context, dry_run: bool, grace_seconds: float) -> Iterator[Finding]:
    with context.database.read() as session:
        old = database_now(session) - timedelta(seconds=grace_seconds)
    # List files before rows: a file whose row is written after this is too new anyway.
    files = [file for file in context.storage.files() if file.modified_at <= old]
    if not files:
        return
    with context.database.read() as session:
        needed = _referenced_keys(session)
    for file in files:
        if file.name not in needed:
            if not dry_run:
                context.storage.remove(file)
            yield Finding(Kind.ORPHAN, file.name, size_bytes=file.size_bytes)


def _referenced_keys(session: Session) -> set[str]:
    datasets = session.scalars(select(Dataset).where(Dataset.expired_at.is_(None)))
    keys = {dataset.storage_key for dataset in datasets}
    keys |= {model.storage_key for model in session.scalars(select(Model))}
    audits = session.scalars(select(Job.audit_key).where(Job.audit_key.is_not(None)))
    return keys | {key for key in audits if key is not None}


def _expired_datasets(context: Context, dry_run: bool) -> Iterator[Finding]:
    days = context.settings.keep_datasets_days
    if days is None:
        return
    with context.database.read() as session:
        zips = session.scalars(
            select(Dataset.id).where(Dataset.expired_at.is_(None), Dataset.parent_id.is_(None))
        ).all()
    for dataset_id in zips:
        gone = _expire(context, dataset_id, timedelta(days=days), dry_run)
        if (
            not dry_run
        ):  # after the commit: a crash may leave a file without a row, never the reverse
            for dataset in gone:
                context.storage.delete(dataset.storage_key)
        for dataset in gone:
            yield Finding(Kind.DATASET, dataset.id, size_bytes=dataset.size_bytes)


def _expire(context: Context, zip_id: str, age: timedelta, dry_run: bool) -> list[Dataset]:
    """Mark a zip and its corrections as expired if no job used them for `age`; return them."""
    family = (Dataset.id == zip_id) | (Dataset.parent_id == zip_id)
    with context.database.write() as session:
        now = database_now(session)
        # Locked against the concurrent creation of a job; the zip first, as that does, to avoid a
        # deadlock.
        locked = (
            select(Dataset)
            .where(family, Dataset.expired_at.is_(None))
            .order_by(Dataset.parent_id.is_not(None), Dataset.id)
        )
        datasets = session.scalars(locked.with_for_update()).all()
        uses = session.execute(
            select(Job.finished_at).where(Job.dataset_id.in_([d.id for d in datasets]))
        ).scalars()
        used = [dataset.created_at for dataset in datasets]
        for finished_at in uses:
            if finished_at is None:
                return []
            used.append(finished_at)
        if not used or max(used) > now - age:
            return []
        if not dry_run:
            for dataset in datasets:  # so that the same photos can be uploaded again
                session.execute(
                    update(Dataset)
                    .where(Dataset.id == dataset.id)
                    .values(expired_at=now, identity=f"expired {dataset.id}")
                )
    return list(datasets)


def _expired_events(context: Context, dry_run: bool) -> Iterator[Finding]:
    days = context.settings.keep_events_days
    if days is None:
        return
    job, expirable = aliased(Job), JobEvent.type != "status"
    with context.database.read() as session:
        before = database_now(session) - timedelta(days=days)
        counted = session.execute(
            select(JobEvent.job_id, func.count())
            .join(job, job.id == JobEvent.job_id)
            .where(expirable, job.finished_at < before)
            .group_by(JobEvent.job_id)
        ).all()
    for job_id, count in counted:
        if not dry_run:
            ended = select(Job.id).where(Job.id == job_id, Job.finished_at < before)
            with context.database.write() as session:  # the job may just have been retried
                session.execute(delete(JobEvent).where(expirable, JobEvent.job_id.in_(ended)))
        yield Finding(Kind.EVENTS, job_id, count=count)


def _expired_features(context: Context, dry_run: bool) -> Iterator[Finding]:
    days, directory = context.settings.keep_features_days, context.settings.feature_dir
    if days is None or not directory.is_dir():
        return
    from dspt.features.store import FeatureStore  # imports torch

    count = FeatureStore(directory).expire(days * 24 * 3600, dry_run=dry_run)
    if count:
        yield Finding(Kind.FEATURES, str(directory), count=count)


def collect_checkpoints(context: Context, *, dry_run: bool = False) -> Iterator[Finding]:
    """Delete the checkpoints on this machine of jobs that have ended."""
    for path in context.settings.checkpoint_dir.glob("*.safetensors*"):
        # A temporary file has a suffix more; its writer may have died.
        job_id = path.name.removeprefix(".").partition(".")[0]
        with context.database.read() as session:
            job = jobs.get(session, job_id)
        if job is None or job.status in TERMINAL:
            try:
                size = path.stat().st_size
                if not dry_run:
                    path.unlink()
            except FileNotFoundError:  # deleted by another process
                continue
            yield Finding(Kind.CHECKPOINT, str(path), size_bytes=size)


def _scratch(context: Context, dry_run: bool) -> Iterator[Finding]:
    for folder in scratch.abandoned(context.settings.scratch_dir):
        size = scratch.size_of(folder)
        if not dry_run:
            scratch.remove(folder)
        yield Finding(Kind.SCRATCH, str(folder), size_bytes=size)
