"""From an artefact to the row that tells of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from app.kit.ids import new_id
from app.models.tables import Model

if TYPE_CHECKING:
    from dspt.artifact import Manifest


def row_of(
    manifest: Manifest,
    data: bytes,
    *,
    owner: str,
    name: str,
    metrics: dict[str, Any],
    job_id: str | None = None,
) -> Model:
    """A new model of `owner`; `data` is its artefact as it is stored, `manifest` what it says."""
    return Model(
        id=new_id("mdl"),
        owner=owner,
        name=name,
        job_id=job_id,
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
