"""A classifier that was tuned elsewhere, taken in. A stranger may have made the file."""

from __future__ import annotations

import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from app.backbones.allowed import check_backbone
from app.jobs import quota
from app.kit.context import Context
from app.kit.errors import ProblemItem, TooManyRequests, Unprocessable
from app.kit.ids import new_id
from app.kit.text import cleaned
from app.models.schemas import ModelView, view
from app.models.tables import Model
from dspt.errors import ArtifactError

_MAX_NAME = 200


def add(context: Context, owner: str, data: bytes, name: str) -> ModelView:
    """Store an artefact as a model of `owner`.

    Raises Unprocessable if it is damaged or not a tuned classifier, or if its backbone is not
    allowed here; TooManyRequests if there is no room left for this owner.
    """
    from dspt.artifact import load_model  # imports torch

    with tempfile.TemporaryDirectory(prefix="dspt-") as folder:
        path = Path(folder) / "artifact"
        path.write_bytes(data)
        try:
            manifest = load_model(path).manifest
        except ArtifactError as error:
            item = ProblemItem(param="artifact", code=error.code, message=error.message)
            raise Unprocessable(error.message, code=error.code, errors=[item]) from error
    check_backbone(manifest.config, context.settings.local_backbones)
    model = Model(
        id=new_id("mdl"),
        owner=owner,
        name=cleaned(name).strip()[:_MAX_NAME] or "imported",
        created_at=datetime.now(UTC),
        backbone=manifest.config.backbone,
        backbone_digest=manifest.backbone_digest,
        classes=list(manifest.classes),
        config=manifest.config.model_dump(mode="json"),
        metrics=dict(manifest.metrics),
        served=manifest.served,
        dataset_sha256=manifest.dataset_sha256,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    context.storage.put_bytes(model.storage_key, data)
    try:
        with context.database.write() as session:
            session.add(model)
            quota.check_bytes(session, context.settings, owner)
    except TooManyRequests:
        context.storage.delete(model.storage_key)
        raise
    return view(model)
