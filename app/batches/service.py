"""Create, cancel, retry and delete batches."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import structlog
from dspt_client.schemas.batches import BatchStatus, BatchView
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.batches import repository
from app.batches.views import view
from app.datasets import service as datasets
from app.datasets.repository import zip_of
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.http.errors import Conflict, NotFound
from app.kit.ids import new_id, owner_digest
from app.kit.tracing import request_origin
from app.models.resolve import resolve
from app.models.service import name_not_found
from app.quotas import service as quotas
from app.tables.batches import Batch

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BatchRequest:
    """A validated request, apart from its images."""

    model: str
    """Id or alias."""
    name: str | None
    top_k: int
    reject_below: float | None

    def sha256(self, images: str) -> str:
        """Return a digest of the request; `images` identifies the images."""
        text = json.dumps([images, self.model, self.name, self.top_k, self.reject_below])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Created:
    batch: BatchView
    replayed: bool
    """True if an earlier request with this Idempotency-Key created the batch."""


def create(
    context: Context,
    caller: Caller,
    request: BatchRequest,
    images: datasets.Upload | str,
    idempotency_key: str | None,
) -> Created:
    """Create a batch on an upload or a data set id. The owner of the model owns the batch.

    Raises NotFound, Conflict, and TooManyRequests or ServiceUnavailable if a quota is exceeded.
    """
    upload = None if isinstance(images, str) else images
    digest = owner_digest(caller.owner, idempotency_key) if idempotency_key else None
    request_sha256 = request.sha256(upload.sha256 if upload else str(images))
    if found := _replayed(context, caller, digest, request_sha256):
        return Created(found, replayed=True)
    batch_id = new_id("bat")
    key = storage_keys.batch(batch_id)
    if upload is not None:
        upload.file.seek(0)
        context.storage.put(key, upload.file)
    try:
        with context.database.write() as session:
            batch = _row(session, caller, request, images, batch_id)
            batch.idempotency_digest, batch.request_sha256 = digest, request_sha256
            session.add(batch)
            quotas.check_job(session, context.settings, batch.owner)
            quotas.check_bytes(session, context.settings, batch.owner)
            found = view(batch)
    except Exception as error:
        if upload is not None:
            context.storage.delete(key)
        # A concurrent request with the same key created a batch.
        if isinstance(error, IntegrityError) and (
            found := _replayed(context, caller, digest, request_sha256)
        ):
            return Created(found, replayed=True)
        raise
    _log.info("batch queued", batch_id=batch_id)
    return Created(found, replayed=False)


def find(session: Session, caller: Caller, batch_id: str, *, lock: bool = False) -> Batch:
    """Return the batch. Raises NotFound, also if it belongs to another owner."""
    batch = repository.get(session, batch_id, lock=lock)
    if batch is None or not caller.sees(batch.owner):
        raise NotFound(f"There is no batch {batch_id!r}.", code="batch_not_found")
    return batch


def cancel(context: Context, caller: Caller, batch_id: str) -> BatchView:
    """Cancel a batch: at once if queued, else through its worker. Raises NotFound, Conflict."""
    with context.database.write() as session:
        find(session, caller, batch_id, lock=True)
        moved = repository.move(
            session, batch_id, BatchStatus.CANCELLED, when=[BatchStatus.QUEUED]
        ) or repository.move(session, batch_id, BatchStatus.CANCELLING)
        batch = find(session, caller, batch_id)
        if not moved and batch.status != BatchStatus.CANCELLING:
            raise Conflict(
                f"The batch has ended ({batch.status}) and cannot be cancelled.",
                code="batch_finished",
            )
        return view(batch)


def retry(context: Context, caller: Caller, batch_id: str) -> BatchView:
    """Queue a failed or cancelled batch again, after the images that have a result.

    Raises NotFound, Conflict, and TooManyRequests or ServiceUnavailable if a quota is exceeded.
    """
    with context.database.write() as session:
        find(session, caller, batch_id, lock=True)
        moved = repository.move(
            session,
            batch_id,
            BatchStatus.QUEUED,
            when=[BatchStatus.FAILED, BatchStatus.CANCELLED],
            values={"attempt": 0, "request_id": request_origin()["request_id"]},
        )
        batch = find(session, caller, batch_id)
        if not moved:
            raise Conflict(
                f"The batch is {batch.status}; only a failed or cancelled batch can be retried.",
                code="batch_not_retriable",
            )
        quotas.check_job(session, context.settings, batch.owner)
        return view(batch)


def delete(context: Context, caller: Caller, batch_id: str) -> None:
    """Delete an ended batch with its results and its uploaded zip. Raises NotFound, Conflict."""
    with context.database.write() as session:
        batch = find(session, caller, batch_id, lock=True)
        status, key = batch.status, batch.storage_key
        session.expunge(batch)
        if not repository.remove(session, batch_id):
            raise Conflict(
                f"The batch is {status}. Cancel it first, or wait until it has ended.",
                code="batch_not_finished",
            )
    if key is not None:
        context.storage.delete(key)


def _row(
    session: Session,
    caller: Caller,
    request: BatchRequest,
    images: datasets.Upload | str,
    batch_id: str,
) -> Batch:
    [model] = resolve(session, [(caller.owner, request.model)])
    if model is None or not caller.sees(model.owner):
        raise name_not_found(request.model)
    if isinstance(images, str):
        dataset = datasets.find(session, caller, images)
        datasets.keep_for_a_job(session, dataset)
        dataset_id, filename, size = dataset.id, zip_of(session, dataset).filename, 0
    else:
        dataset_id, filename, size = None, images.filename, images.size_bytes
    now = database_now(session)
    return Batch(
        id=batch_id,
        owner=model.owner,
        name=(request.name or filename.removesuffix(".zip") or filename)[:200],
        status=BatchStatus.QUEUED,
        created_at=now,
        queued_at=now,
        attempt=0,
        model_id=model.id,
        alias=model.alias,
        dataset_id=dataset_id,
        filename=filename,
        size_bytes=size,
        options={"top_k": request.top_k, "reject_below": request.reject_below},
        done=0,
        unreadable=0,
        request_id=request_origin()["request_id"],
    )


def _replayed(
    context: Context, caller: Caller, digest: str | None, request_sha256: str
) -> BatchView | None:
    if digest is None:
        return None
    with context.database.read() as session:
        batch = repository.by_idempotency_digest(session, digest)
        if batch is None:
            return None
        if batch.request_sha256 != request_sha256:
            raise Conflict(
                f"The Idempotency-Key was used for a different request (batch {batch.id}). Use a "
                "new key for a new batch.",
                code="idempotency_key_reused",
            )
        return view(find(session, caller, batch.id))
