"""One API with models on the built-in backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.kit.context import Context
from app.kit.ids import new_id
from app.kit.settings import Settings
from app.main import create_app
from app.tables.models import Model
from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.model.artifact import Manifest, TunedModel, save_model
from tests.integration.conftest import local_client
from tests.integration.predictions.calls import FRUIT, AddModel


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    data_dir = tmp_path_factory.mktemp("predictions")
    return create_app(Settings(data_dir=data_dir, max_body_bytes=2_000_000, no_auth=True))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with local_client(app) as opened:
        yield opened


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("builtin")


@pytest.fixture
def add_model(client: TestClient, app: FastAPI, backbone: Backbone, tmp_path: Path) -> AddModel:
    """Put a tuned model with random context into database and storage; returns its id."""

    def add(
        classes: Sequence[str] = FRUIT,
        *,
        name: str = "builtin",
        digest: str = backbone.digest,
        data: bytes | None = None,
        seed: int = 1,
    ) -> str:
        generator = torch.Generator().manual_seed(seed)
        width = backbone.text_tower.width
        context = torch.randn(4, width, generator=generator) * backbone.text_tower.embedding_std
        config = TuneConfig.parse({"backbone": name, "n_ctx": 4, "ctx_init": "random"})
        manifest = Manifest(
            classes=list(classes),
            class_words=list(classes),
            config=config,
            backbone_digest=digest,
            activation=backbone.activation,
            dataset_sha256="0" * 64,
            served="tuned",
            why="",
            metrics={},
        )
        path = tmp_path / f"{new_id('mdl')}.safetensors"
        save_model(TunedModel(context, manifest), path)
        data = path.read_bytes() if data is None else data
        model = Model(
            id=path.stem,
            owner="local",
            name="test",
            job_id=None,
            created_at=datetime.now(UTC),
            backbone=name,
            backbone_digest=digest,
            classes=list(classes),
            config=config.model_dump(mode="json"),
            metrics={},
            served="tuned",
            dataset_sha256="0" * 64,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        opened: Context = app.state.context
        opened.storage.put_bytes(model.storage_key, data)
        with opened.database.write() as session:
            session.add(model)
        return path.stem

    return add
