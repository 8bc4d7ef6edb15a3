"""Create, cancel, retry and delete batches."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import structlog
from dspt_client.schemas.batches import BatchView
from dspt_client.schemas.status import Status
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.backbones.allowed import pool_for
from app.batches.repository import BATCHES
from app.batches.views import view
from app.datasets import service as datasets
from app.datasets.repository import zip_of
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.http.errors import ApiError
from app.kit.ids import new_id, owner_digest
from app.kit.settings import Settings
from app.kit.tracing import request_origin
from app.leased import service as leased
from app.models.service import find_by_name
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


def create(
    context: Context,
    caller: Caller,
    request: BatchRequest,
    images: datasets.Upload | str,
    idempotency_key: str | None,
) -> leased.Created[BatchView]:
    """Create a batch on an upload or a data set id. The owner of the model owns the batch.

    Raises NotFound, Conflict, Unprocessable, and TooManyRequests or ServiceUnavailable if a quota
    is exceeded.
    """
    upload = None if isinstance(images, str) else images
    request_sha256 = request.sha256(upload.sha256 if upload else str(images))
    if found := _replayed(context, caller, idempotency_key, request_sha256):
        return leased.Created(found, replayed=True)
    batch_id = new_id("bat")
    key = storage_keys.batch(batch_id)
    if upload is not None:
        upload.file.seek(0)
        context.storage.put(key, upload.file)
    try:
        with context.database.write() as session:
            batch = _row(session, context.settings, caller, request, images, batch_id)
            batch.request_sha256 = request_sha256
            if idempotency_key is not None:
                batch.idempotency_digest = owner_digest(caller.owner, idempotency_key)
            session.add(batch)
            quotas.check_job(session, context.settings, batch.owner)
            quotas.check_bytes(session, context.settings, batch.owner)
            found = view(batch)
    except (ApiError, IntegrityError) as error:  # after another error it may have been committed
        if upload is not None:
            context.storage.delete(key)
        # A concurrent request with the same key created a batch.
        if isinstance(error, IntegrityError) and (
            found := _replayed(context, caller, idempotency_key, request_sha256)
        ):
            return leased.Created(found, replayed=True)
        raise
    _log.info("batch queued", batch_id=batch_id)
    return leased.Created(found, replayed=False)


def cancel(context: Context, caller: Caller, batch_id: str) -> BatchView:
    """Cancel a batch: at once if queued, else through its worker. Raises NotFound, Conflict."""
    with context.database.write() as session:
        return view(leased.cancel(BATCHES, session, caller, batch_id))


def retry(context: Context, caller: Caller, batch_id: str) -> BatchView:
    """Queue a failed or cancelled batch again, after the images that have a result.

    Raises NotFound, Conflict, and TooManyRequests or ServiceUnavailable if a quota is exceeded.
    """
    fresh = {"worked_seconds": 0.0}
    with context.database.write() as session:
        return view(leased.retry(BATCHES, session, context.settings, caller, batch_id, fresh))


def delete(context: Context, caller: Caller, batch_id: str) -> None:
    """Delete an ended batch with its results and its uploaded zip. Raises NotFound, Conflict."""
    with context.database.write() as session:
        key = leased.delete(BATCHES, session, caller, batch_id).storage_key
    if key is not None:
        context.storage.delete(key)


def _row(
    session: Session,
    settings: Settings,
    caller: Caller,
    request: BatchRequest,
    images: datasets.Upload | str,
    batch_id: str,
) -> Batch:
    model = find_by_name(session, caller, request.model)
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
        pool=pool_for(settings.pools, model.backbone),
        status=Status.QUEUED,
        created_at=now,
        queued_at=now,
        attempt=0,
        model_id=model.id,
        alias=None if request.model == model.id else request.model,
        dataset_id=dataset_id,
        filename=filename,
        size_bytes=size,
        options={"top_k": request.top_k, "reject_below": request.reject_below},
        done=0,
        unreadable=0,
        **request_origin(),
    )


def _replayed(
    context: Context, caller: Caller, key: str | None, request_sha256: str
) -> BatchView | None:
    with context.database.read() as session:
        batch = leased.replayed(BATCHES, session, caller, key, request_sha256)
        return None if batch is None else view(batch)
