"""Find and delete garbage: on this machine, in the database and among the stored files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from dspt_client.schemas.status import TERMINAL

from app.captures import retention
from app.datasets import photos, uploads
from app.gc.events import expired_events, thinned_events
from app.gc.files import collect_files
from app.gc.findings import GRACE_SECONDS, Finding, Kind
from app.gc.runs import expired_runs
from app.installation import service as installation
from app.jobs import repository as jobs
from app.kit import scratch, storage_keys
from app.kit.context import Context
from app.kit.storage import StorageUnavailable
from app.webhooks.sender import expire_deliveries


def collect(
    context: Context,
    *,
    dry_run: bool = False,
    force: bool = False,
    grace_seconds: float = GRACE_SECONDS,
    local: bool = True,
) -> Iterator[Finding]:
    """Delete garbage and yield each deleted or moved item; with `dry_run` only yield.

    local: also that of this machine, see `collect_local`.

    Safe alongside running jobs and requests, and in several processes at once. Raises
    TooMuchGarbageError, unless `force`, if suspiciously many stored files would go, and
    InstallationError before anything else if database and storage do not belong together.
    """
    installation.check(context)
    yield from expired_events(context, dry_run)
    yield from thinned_events(context, dry_run)
    yield from expired_runs(context, dry_run)
    for upload_id, parts in uploads.expire(context, dry_run=dry_run):
        yield Finding(Kind.UPLOAD, upload_id, count=parts)
    for webhook_id, count in expire_deliveries(context, dry_run=dry_run):
        yield Finding(Kind.DELIVERIES, webhook_id, count=count)
    for name, count in retention.expire(context, dry_run=dry_run):
        yield Finding(Kind.CAPTURE, name, count=count)
    yield from collect_files(context, dry_run=dry_run, force=force, grace_seconds=grace_seconds)
    if local:
        yield from collect_local(context, dry_run=dry_run)


def collect_local(context: Context, *, dry_run: bool = False) -> Iterator[Finding]:
    """Delete what processes keep on the disk of this machine and no longer need, as `collect`."""
    yield from _expired_features(context, dry_run)
    yield from collect_checkpoints(context, dry_run=dry_run)
    yield from _scratch(context, dry_run)
    yield from _pictures(context, dry_run)


def _pictures(context: Context, dry_run: bool) -> Iterator[Finding]:
    sizes = [each.size_bytes for each in photos.expire(context, dry_run=dry_run)]
    if sizes:
        folder = str(context.settings.picture_dir)
        yield Finding(Kind.PICTURES, folder, count=len(sizes), size_bytes=sum(sizes))


def _expired_features(context: Context, dry_run: bool) -> Iterator[Finding]:
    days, directory = context.settings.keep_features_days, context.settings.feature_dir
    if days is None or not directory.is_dir():
        return
    from dspt.features.store import FeatureStore

    count = FeatureStore(directory).expire(days * 24 * 3600, dry_run=dry_run)
    if count:
        yield Finding(Kind.FEATURES, str(directory), count=count)


def collect_checkpoints(context: Context, *, dry_run: bool = False) -> Iterator[Finding]:
    """Delete the checkpoints on this machine of jobs that have ended, and copies in a bucket."""
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
                    _delete_copy(context, job_id)
            except FileNotFoundError:  # deleted by another process
                continue
            yield Finding(Kind.CHECKPOINT, str(path), size_bytes=size)


def _delete_copy(context: Context, job_id: str) -> None:
    if not context.storage.is_local:
        with suppress(StorageUnavailable):  # a later collection of the stored files deletes it
            context.storage.delete(storage_keys.checkpoint(job_id))


def _scratch(context: Context, dry_run: bool) -> Iterator[Finding]:
    for folder in scratch.abandoned(context.settings.scratch_dir):
        size = scratch.size_of(folder)
        if not dry_run:
            scratch.remove(folder)
        if size:  # else the process has cleared it
            yield Finding(Kind.SCRATCH, str(folder), size_bytes=size)
