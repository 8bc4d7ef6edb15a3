"""Artefacts in the storage, and their rows in the database."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from app.kit.context import Context
from app.kit.http.errors import NotFound, TooManyRequests
from app.kit.ids import new_id
from app.quotas import service as quotas
from app.tables.models import Model

if TYPE_CHECKING:
    from dspt.model.format import Artifact, Manifest


def row_of(
    manifest: Manifest,
    data: bytes,
    *,
    owner: str,
    name: str,
    metrics: dict[str, Any],
    job_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Model:
    """Return a new row of `owner` for the artefact `data` with this manifest."""
    return Model(
        id=new_id("mdl"),
        owner=owner,
        name=name,
        job_id=job_id,
        user_metadata=metadata,
        created_at=datetime.now(UTC),
        backbone=manifest.config.backbone,
        backbone_digest=manifest.backbone_digest,
        classes=list(manifest.classes),
        config=manifest.config.model_dump(mode="json"),
        metrics=metrics,
        served=manifest.served,
        dataset_sha256=manifest.dataset_sha256,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def keep(context: Context, model: Model, data: bytes) -> None:
    """Store an artefact and its row, or neither.

    Raises TooManyRequests if the owner's quota is exceeded.
    """
    context.storage.put_bytes(model.storage_key, data)
    try:
        with context.database.write() as session:
            session.add(model)
            quotas.check_bytes(session, context.settings, model.owner)
    except TooManyRequests:
        context.storage.delete(model.storage_key)
        raise


def read(context: Context, model: Model) -> Artifact:
    """Read the artefact. Raises NotFound if its file is missing, ArtifactError if it is damaged."""
    from dspt.model.format import read_artifact

    try:
        with context.storage.local_copy(model.storage_key) as path:
            return read_artifact(path)
    except FileNotFoundError as error:
        raise NotFound(
            "The artefact is missing from the storage.", code="artifact_not_found"
        ) from error
