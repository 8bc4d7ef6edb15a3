"""Create a new model from an existing one plus further classes by name."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dspt_client.schemas.models import ModelView
from starlette.concurrency import run_in_threadpool

from app.kit.context import Context
from app.kit.http.errors import Conflict
from app.models import artifacts, drift
from app.models.schemas import view
from app.predictions.inference import Inference
from app.tables.models import Model
from dspt.errors import ArtifactError, UnknownBackbone

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone
    from dspt.model.format import Artifact, Manifest

_MAX_NAME = 200


async def add_classes(
    context: Context, inference: Inference, parent: Model, classes: Mapping[str, str | None]
) -> ModelView:
    """Create a model of the same owner: `parent` with further classes.

    Raises NotFound (missing artefact), Conflict (the model cannot be served here or cannot take
    further classes), TooManyRequests (quota exceeded), WeightsUnavailable, and DatasetError,
    ConfigError or PromptTooLong for invalid classes.
    """
    artifact = await run_in_threadpool(artifacts.read, context, parent)
    backbone = artifact.manifest.config.backbone
    origin = {"parent": {"id": parent.id, "sha256": parent.sha256}}
    try:
        added = await inference.with_backbone(backbone, _added, artifact, classes, origin)
        return await run_in_threadpool(_keep, context, parent, *added)
    except (ArtifactError, UnknownBackbone) as error:
        raise Conflict(f"Model {parent.id}: {error.message}", code=error.code) from error


def _added(
    backbone: Backbone,
    artifact: Artifact,
    classes: Mapping[str, str | None],
    origin: Mapping[str, Any],
) -> tuple[Manifest, bytes]:
    """Return the manifest and the file of the model with more classes."""
    from dspt.model.add_class import add_classes
    from dspt.model.artifact import from_artifact, save_model

    model = add_classes(from_artifact(artifact), classes, backbone)
    manifest = model.manifest.model_copy(update={"metrics": model.manifest.metrics | dict(origin)})
    with tempfile.TemporaryDirectory(prefix="dspt-") as folder:
        path = Path(folder) / "model.safetensors"
        save_model(dataclasses.replace(model, manifest=manifest), path)
        return manifest, path.read_bytes()


def _keep(context: Context, parent: Model, manifest: Manifest, data: bytes) -> ModelView:
    row = artifacts.row_of(
        manifest,
        data,
        owner=parent.owner,
        name=_name(parent.name, manifest.classes[len(parent.classes) :]),
        metrics=manifest.metrics,
    )
    artifacts.keep(context, row, data)
    return view(row, drift=drift.of_new(row.metrics))


def _name(name: str, added: list[str]) -> str:
    more = f" + {', '.join(added)}"
    return name + more if len(name + more) <= _MAX_NAME else f"{name[:170]} + {len(added)} classes"
