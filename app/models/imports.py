"""Import a classifier that was tuned elsewhere. The file is untrusted."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dspt_client.schemas.models import ModelView

from app.backbones.allowed import check_backbone
from app.kit.context import Context
from app.kit.control_characters import cleaned
from app.kit.http.errors import Unprocessable
from app.models import drift
from app.models.artifacts import keep, row_of
from app.models.schemas import view
from dspt.errors import ArtifactError

_MAX_NAME = 200


def add(context: Context, owner: str, data: bytes, name: str) -> ModelView:
    """Store an artefact as a model of `owner`.

    Raises Unprocessable if it is damaged, not a tuned classifier, or has a backbone that is not
    allowed here; TooManyRequests if the owner's quota is exceeded.
    """
    from dspt.model.format import read_artifact

    with tempfile.TemporaryDirectory(prefix="dspt-") as folder:
        path = Path(folder) / "artifact"
        path.write_bytes(data)
        try:
            manifest = read_artifact(path).manifest
        except ArtifactError as error:
            raise Unprocessable(error.message, code=error.code, param="artifact") from error
    check_backbone(manifest.config, context.settings.local_backbones)
    model = row_of(
        manifest,
        data,
        owner=owner,
        name=cleaned(name).strip()[:_MAX_NAME] or "imported",
        metrics=dict(manifest.metrics),
    )
    keep(context, model, data)
    return view(model, drift=drift.of_new(model.metrics))
