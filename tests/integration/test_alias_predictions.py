"""POST /predict by alias: whatever happens to it, one model answers, and the right one."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from app.kit.settings import Settings
from app.kit.storage.local import LocalStorage
from app.main import create_app
from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.model.artifact import Manifest, TunedModel, save_model
from tests.integration.conftest import local_client
from tests.integration.jobs import problem

#: Of the models that an alias moves between: whose an answer is can be seen from its labels.
CLASSES = (("apple", "banana", "cherry"), ("rain", "snow", "sunshine"))
MOVES = 6
THREADS = 4


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("aliases"), requests_per_minute=1_000_000, no_auth=True
    )
    with local_client(create_app(settings)) as opened:
        yield opened


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("builtin")


@pytest.fixture
def models(client: TestClient, backbone: Backbone, tmp_path: Path) -> list[str]:
    """One for each of CLASSES, new to the service."""
    return [add_model(client, backbone, classes, tmp_path) for classes in CLASSES]


def add_model(
    client: TestClient, backbone: Backbone, classes: tuple[str, ...], folder: Path
) -> str:
    """Import a model whose context is random; returns its id."""
    context = torch.randn(4, backbone.text_tower.width, generator=torch.Generator().manual_seed(1))
    manifest = Manifest(
        classes=list(classes),
        class_words=list(classes),
        config=TuneConfig.parse({"backbone": "builtin", "n_ctx": 4, "ctx_init": "random"}),
        backbone_digest=backbone.digest,
        activation=backbone.activation,
        dataset_sha256="0" * 64,
        served="tuned",
        why="",
        metrics={},
    )
    path = folder / "model.safetensors"
    save_model(TunedModel(context * backbone.text_tower.embedding_std, manifest), path)
    response = client.post("/models", files={"artifact": path.read_bytes()})
    assert response.status_code == 201, response.text
    model_id: str = response.json()["id"]
    return model_id


def photo(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


PHOTOS = [("images", (f"{seed}.png", photo(seed))) for seed in range(2)]


def predict(client: TestClient, model: str) -> Any:
    return client.post("/predict", data={"model": model}, files=PHOTOS)


def move(client: TestClient, alias: str, model: str) -> None:
    client.patch(f"/models/{model}", json={"alias": alias}).raise_for_status()


def answered(response: Any, models: list[str], alias: str) -> int:
    """Which of `models` has answered; checks that all of the answer is its own."""
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["alias"] == alias
    which = models.index(answer["model"])
    for prediction in answer["predictions"]:
        assert sorted(entry["label"] for entry in prediction["top"]) == sorted(CLASSES[which])
    return which


def test_an_alias_answers_as_the_model_that_it_points_to(
    client: TestClient, models: list[str]
) -> None:
    problem(predict(client, "production"), 404, "model_not_found")
    for model in models:
        move(client, "production", model)
        answer = predict(client, "production").json()
        assert answer.pop("alias") == "production"
        assert answer == predict(client, model).json()
    client.post("/aliases/production/rollback").raise_for_status()
    assert answered(predict(client, "production"), models, "production") == 0
    client.delete("/aliases/production").raise_for_status()
    problem(predict(client, "production"), 404, "model_not_found")


class Hammer:
    """Asks for an alias from several threads while it moves, and looks at each answer."""

    def __init__(self, client: TestClient, models: list[str], alias: str) -> None:
        self._client, self._models, self._alias = client, models, alias
        self._over = threading.Event()
        #: Moves that were sent, and moves that were answered; move n leads to model n % 2.
        self.sent = self.done = 0
        #: Answers of each model.
        self.answers = [0, 0]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with ThreadPoolExecutor(THREADS) as pool:
            threads = [pool.submit(self._ask) for _ in range(THREADS)]
            try:
                yield
            finally:
                self._over.set()
            for counts in (thread.result() for thread in threads):
                self.answers = [a + b for a, b in zip(self.answers, counts, strict=True)]

    def move(self) -> None:
        self.sent += 1
        move(self._client, self._alias, self._models[self.sent % 2])
        self.done = self.sent

    def _ask(self) -> list[int]:
        counts = [0, 0]
        while not self._over.is_set():
            first = self.done
            which = answered(predict(self._client, self._alias), self._models, self._alias)
            assert which in {number % 2 for number in range(first, self.sent + 1)}
            counts[which] += 1
        return counts


def test_no_request_fails_or_is_answered_by_the_old_model_over_a_switch(
    client: TestClient, models: list[str]
) -> None:
    alias = "switched"
    move(client, alias, models[0])
    hammer = Hammer(client, models, alias)
    with hammer.at_work():
        for number in range(1, MOVES + 1):
            hammer.move()
            # A request after the response to a move gets the new model.
            assert answered(predict(client, alias), models, alias) == number % 2
    assert min(hammer.answers) >= THREADS
    history = client.get(f"/aliases/{alias}?limit=100").json()["history"]
    assert [step["model_id"] for step in history] == [
        models[number % 2] for number in range(MOVES, -1, -1)
    ]


def test_a_request_whose_model_is_replaced_and_deleted_meanwhile_is_answered_by_the_next(
    client: TestClient, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not in memory yet, and its artefact is gone when it is to be loaded."""
    move(client, "replaced", models[0])
    loading, go_on = threading.Event(), threading.Event()
    local_copy = LocalStorage.local_copy

    def held_up(storage: LocalStorage, key: str) -> Any:
        loading.set()
        assert go_on.wait(60)
        return local_copy(storage, key)

    monkeypatch.setattr(LocalStorage, "local_copy", held_up)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(predict, client, "replaced")
        try:
            assert loading.wait(60)
            move(client, "replaced", models[1])
            client.delete(f"/models/{models[0]}").raise_for_status()
        finally:
            go_on.set()
        assert answered(waiting.result(), models, "replaced") == 1
