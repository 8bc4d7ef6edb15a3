"""Random classifiers, written to database and storage as the service does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sqlalchemy import insert

from app.kit.context import Context
from app.kit.ids import LOCAL_OWNER
from app.kit.settings import Settings
from app.models.artifacts import row_of
from app.tables.models import Model
from benchmarks.stack import MeasuredStack
from dspt.backbones import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.model.artifact import Manifest, TunedModel, save_model

_CONTEXT_WORDS = 4


def write_classifiers(
    stack: MeasuredStack, backbone: Backbone, classes: Sequence[Sequence[str]], seed: int
) -> list[str]:
    """Write a random classifier for each list of classes; return their ids."""
    generator = torch.Generator().manual_seed(seed)
    rows, file = [], stack.folder / "classifier.safetensors"
    settings = Settings(
        data_dir=stack.folder / "data",
        database_url=stack.environment["DSPT_DATABASE_URL"],
        broker_url=stack.environment["DSPT_BROKER_URL"],
    )
    context = Context.open(settings)
    try:
        for names in classes:
            model = _random(backbone, names, generator)
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


def _random(backbone: Backbone, classes: Sequence[str], generator: torch.Generator) -> TunedModel:
    matrix = torch.randn(len(classes), backbone.feature_dim, generator=generator)
    matrix *= backbone.logit_scale / matrix.norm(dim=1, keepdim=True)
    config = TuneConfig.parse(
        {"backbone": backbone.name, "n_ctx": _CONTEXT_WORDS, "ctx_init": "random"}
    )
    manifest = Manifest(
        classes=list(classes),
        class_words=list(classes),
        config=config,
        backbone_digest=backbone.digest,
        activation=backbone.activation,
        dataset_sha256="0" * 64,
        served="tuned",
        why="",
        metrics={},
    )
    context = torch.randn(_CONTEXT_WORDS, backbone.text_tower.width, generator=generator)
    return TunedModel(context, manifest, LinearClassifier(matrix, torch.zeros(len(classes))))
