"""Random classifiers, written to database and storage as the service does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from sqlalchemy import insert

from app.kit.context import Context
from app.kit.ids import LOCAL_OWNER
from app.kit.settings import Settings
from app.models.artifacts import row_of
from app.tables.models import Model
from dspt.backbones import Backbone, load_backbone
from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.model.artifact import Manifest, TunedModel, save_model

_CONTEXT_WORDS = 4


@dataclass(frozen=True)
class Shape:
    """What all classifiers on a backbone have in common."""

    backbone: str
    digest: str
    activation: str
    width: int
    """Of the text tower."""
    dim: int
    """Of the features."""
    scale: float


def shape_of(name: str) -> Shape:
    """Return the shape of classifiers on this backbone."""
    backbone: Backbone = load_backbone(name)
    return Shape(
        name,
        backbone.digest,
        backbone.activation,
        backbone.text_tower.width,
        backbone.feature_dim,
        backbone.logit_scale,
    )


def write_classifiers(
    environment: Mapping[str, str],
    folder: Path,
    shape: Shape,
    classes: Sequence[Sequence[str]],
    seed: int,
) -> list[str]:
    """Write a random classifier for each list of classes; return their ids."""
    settings = Settings(
        data_dir=Path(environment["DSPT_DATA_DIR"]),
        database_url=environment["DSPT_DATABASE_URL"],
        broker_url=environment["DSPT_BROKER_URL"],
    )
    generator = torch.Generator().manual_seed(seed)
    rows, file = [], folder / "classifier.safetensors"
    context = Context.open(settings)
    try:
        for names in classes:
            model = _random(shape, names, generator)
            save_model(model, file)
            data = file.read_bytes()
            row = row_of(model.manifest, data, owner=LOCAL_OWNER, name="random", metrics={})
            context.storage.put_bytes(row.storage_key, data)
            rows.append({column.key: getattr(row, column.key) for column in Model.__table__.c})
        with context.database.write() as session:
            session.execute(insert(Model), rows)
    finally:
        context.close()
    return [str(row["id"]) for row in rows]


def _random(shape: Shape, classes: Sequence[str], generator: torch.Generator) -> TunedModel:
    matrix = torch.randn(len(classes), shape.dim, generator=generator)
    matrix *= shape.scale / matrix.norm(dim=1, keepdim=True)
    config = TuneConfig.parse(
        {"backbone": shape.backbone, "n_ctx": _CONTEXT_WORDS, "ctx_init": "random"}
    )
    manifest = Manifest(
        classes=list(classes),
        class_words=list(classes),
        config=config,
        backbone_digest=shape.digest,
        activation=shape.activation,
        dataset_sha256="0" * 64,
        served="tuned",
        why="",
        metrics={},
    )
    context = torch.randn(_CONTEXT_WORDS, shape.width, generator=generator)
    return TunedModel(context, manifest, LinearClassifier(matrix, torch.zeros(len(classes))))
