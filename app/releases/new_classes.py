"""Create a new model from an existing one plus further classes by name."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dspt_client.schemas.models import ModelView
from starlette.concurrency import run_in_threadpool

from app.kit.context import Context
from app.kit.http.errors import Conflict
from app.models import artifacts
from app.models.schemas import view
from app.predictions.inference import Inference
from app.tables.models import Model
from dspt.errors import ArtifactError, UnknownBackbone

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone
    from dspt.model.artifact import TunedModel

_MAX_NAME = 200


async def add_classes(
    context: Context, inference: Inference, parent: Model, classes: Mapping[str, str | None]
) -> ModelView:
    """Create a model of the same owner: `parent` with further classes.

    Raises NotFound (missing artefact), Conflict (the model cannot be served here or cannot take
    further classes), TooManyRequests (quota exceeded), WeightsUnavailable, and DatasetError,
    ConfigError or PromptTooLong for invalid classes.
    """
    model = await run_in_threadpool(artifacts.read, context, parent)
    backbone = model.manifest.config.backbone
    try:
        added = await inference.with_backbone(backbone, partial(_added, model, classes))
        return await run_in_threadpool(_keep, context, parent, added, list(classes))
    except (ArtifactError, UnknownBackbone) as error:
        raise Conflict(f"Model {parent.id}: {error.message}", code=error.code) from error


def _added(model: TunedModel, classes: Mapping[str, str | None], backbone: Backbone) -> TunedModel:
    from dspt.model.add_class import add_classes

    return add_classes(model, classes, backbone)


def _keep(context: Context, parent: Model, model: TunedModel, names: list[str]) -> ModelView:
    from dspt.model.artifact import save_model

    manifest = model.manifest
    metrics = manifest.metrics | {"parent": {"id": parent.id, "sha256": parent.sha256}}
    manifest = manifest.model_copy(update={"metrics": metrics})
    with tempfile.TemporaryDirectory(prefix="dspt-") as folder:
        path = Path(folder) / "model.safetensors"
        save_model(dataclasses.replace(model, manifest=manifest), path)
        data = path.read_bytes()
    row = artifacts.row_of(
        manifest, data, owner=parent.owner, name=_name(parent.name, names), metrics=metrics
    )
    artifacts.keep(context, row, data)
    return view(row)


def _name(name: str, added: list[str]) -> str:
    more = f" + {', '.join(added)}"
    return name + more if len(name + more) <= _MAX_NAME else f"{name[:170]} + {len(added)} classes"
