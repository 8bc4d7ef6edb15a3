"""Drift of captured predictions: on the model and in /metrics, beside what is normal."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dspt_client.schemas.models import ModelView
from fastapi.testclient import TestClient
from rich.console import Console
from sqlalchemy import event

from app.commands._tables import model_details
from app.datasets.demo_photos import make_demo_data
from app.feedback import capture
from app.feedback.capture import Captured
from app.kit.context import Context
from app.models.drift import FEWEST, RECENT
from app.models.metrics import DriftCollector
from app.models.resolve import ResolvedModel
from dspt.backbones import load_backbone
from dspt.data.images import decode_image
from dspt.model.artifact import TunedModel, save_model
from dspt.report.drift import class_means
from tests.integration.databases import on_postgres, on_sqlite
from tests.integration.jobs import make_model, problem
from tests.integration.test_metrics import figures
from tests.unit.models import model_for

BASELINE = {
    "images": 40,
    "low_confidence": 0.1,
    "distance": 0.2,
    "far": 0.05,
    "far_beyond": 0.35,
}
NORMAL = {name: value for name, value in BASELINE.items() if name != "far_beyond"}


def add_model(context: Context, metrics: dict[str, Any]) -> str:
    model = make_model("")
    model.job_id, model.metrics = None, metrics
    with context.database.write() as session:
        session.add(model)
    return model.id


def keep(context: Context, model: str, count: int, *, score: float, distance: float | None) -> None:
    features = np.ones(2, np.float16)
    each = Captured("a.png", b"x", "cat", score, 0.1, features, distance)
    capture.store(context, ResolvedModel(model, "local", "", None), [each] * count)


def upload(client: TestClient, model: TunedModel, folder: Path) -> str:
    save_model(model, folder / "a.safetensors")
    artifact = (folder / "a.safetensors").read_bytes()
    answer = client.post("/models", files={"artifact": ("a.safetensors", artifact)})
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def drift_of(client: TestClient, model: str) -> Any:
    return client.get(f"/models/{model}").json()["drift"]


def test_recent_photos_beside_the_normal_ones(client: TestClient, live: Context) -> None:
    model, other = (add_model(live, {"drift_baseline": BASELINE}) for _ in range(2))
    keep(live, other, FEWEST, score=0.9, distance=0.2)
    keep(live, model, RECENT, score=0.1, distance=1.5)  # no longer counts in the end
    assert drift_of(client, model)["now"]["low_confidence"] == 1.0
    keep(live, model, RECENT - 100, score=0.9, distance=0.2)
    keep(live, model, 100, score=0.4, distance=0.6)
    found = drift_of(client, model)
    assert found["captured"] == RECENT
    assert found["since"] is not None
    assert found["baseline"] == NORMAL
    assert found["reason"] is None
    assert found["now"] == {
        "images": RECENT,
        "low_confidence": 0.2,
        "distance": pytest.approx(0.28),
        "far": 0.2,
    }
    exported = figures(client)
    assert exported["dspt_drift_captured", model] == RECENT
    for name, now, normal in (
        ("low_confidence", 0.2, 0.1),
        ("distance", 0.28, 0.2),
        ("far", 0.2, 0.05),
    ):
        assert exported[f"dspt_drift_{name}", model, "captured"] == pytest.approx(now)
        assert exported[f"dspt_drift_{name}", model, "baseline"] == normal
    assert exported["dspt_drift_far", other, "captured"] == 0
    listed = client.get("/models").json()["data"]
    assert {each["drift"] for each in listed} == {None}


def test_the_metrics_of_all_models_take_one_look_at_their_photos(live: Context) -> None:
    models = [add_model(live, {"drift_baseline": BASELINE}) for _ in range(3)]
    for model in models:
        keep(live, model, FEWEST, score=0.9, distance=0.2)
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    collector = DriftCollector(live)
    event.listen(live.database.engine, "before_cursor_execute", count)
    try:
        captured = next(collector.collect())
    finally:
        event.remove(live.database.engine, "before_cursor_execute", count)
        collector.close()
    assert {each.labels["model"] for each in captured.samples} >= set(models)
    assert sum("FROM captured_predictions" in each for each in statements) == 2  # which, and all


@on_sqlite
def test_the_command_line_shows_each_figure_beside_the_normal_one(
    client: TestClient, live: Context
) -> None:
    model = add_model(live, {"drift_baseline": BASELINE})

    def shown() -> str:
        view = ModelView.model_validate(client.get(f"/models/{model}").json())
        console = Console(width=100, file=io.StringIO())
        with console.capture() as written:
            console.print(model_details(view))
        return " ".join(written.get().split())

    assert "drift Too few captured predictions: 0 of" in shown()
    keep(live, model, FEWEST, score=0.4, distance=0.6)
    expected = (
        "uncertain 100% (normal: 10%) distance 0.600 (normal: 0.200) far away 100% (normal: 5%)"
    )
    assert f"drift of the newest {FEWEST} captured predictions {expected}" in shown()


def test_nothing_is_said_of_few_photos(client: TestClient, live: Context) -> None:
    model = add_model(live, {"drift_baseline": BASELINE})
    none = drift_of(client, model)
    assert none == {
        "captured": 0,
        "since": None,
        "now": None,
        "baseline": NORMAL,
        "reason": f"Too few captured predictions: 0 of the {FEWEST} that are needed.",
    }
    keep(live, model, FEWEST - 1, score=0.9, distance=0.2)
    assert drift_of(client, model)["now"] is None
    assert ("dspt_drift_captured", model) not in figures(client)
    keep(live, model, 1, score=0.9, distance=0.2)
    assert drift_of(client, model)["now"]["images"] == FEWEST


@pytest.mark.parametrize("baseline", [None, "much", {"images": "x", "far_beyond": "DROP"}])
def test_a_model_without_a_baseline_has_no_distances(
    client: TestClient, live: Context, baseline: Any
) -> None:
    """Tuned by an earlier version, or imported with whatever metrics."""
    model = add_model(live, {} if baseline is None else {"drift_baseline": baseline})
    keep(live, model, FEWEST, score=0.4, distance=None)
    found = drift_of(client, model)
    now = {"images": FEWEST, "low_confidence": 1.0, "distance": None, "far": None}
    assert (found["now"], found["baseline"]) == (now, None)
    assert found["reason"].startswith("The model has no class means")
    exported = figures(client)
    assert exported["dspt_drift_low_confidence", model, "captured"] == 1.0
    assert ("dspt_drift_distance", model, "captured") not in exported


def test_photos_from_before_distances_were_kept(client: TestClient, live: Context) -> None:
    model = add_model(live, {"drift_baseline": BASELINE})
    keep(live, model, FEWEST, score=0.9, distance=None)
    keep(live, model, 3, score=0.9, distance=0.2)
    found = drift_of(client, model)
    assert (found["now"]["images"], found["now"]["distance"]) == (FEWEST + 3, None)
    assert found["reason"].startswith("Too few captured predictions have a distance: 3 of")


@on_postgres
def test_captured_photos_have_their_distance_from_the_training_photos(
    client: TestClient, tmp_path: Path
) -> None:
    """Of an imported artefact, as a worker writes it."""
    backbone = load_backbone("builtin")
    photos = [photo.jpeg for photo in make_demo_data(1).unseen[:2]]
    model = model_for(backbone)
    none = upload(client, model, tmp_path)
    before = client.post(f"/models/{none}/predict", content=photos[0], params={"capture": "true"})
    (kept,) = before.json()["predictions"]
    assert client.get(f"/predictions/{kept['prediction']}").json()["distance"] is None

    crop = backbone.preprocess.crop(decode_image(photos[0], side=backbone.read_side))
    embedding = backbone.encode_crops(crop[None])[:, : backbone.embed_dim].numpy()
    means = class_means(embedding, np.array([0]))
    assert means is not None
    known = upload(
        client, dataclasses.replace(model, class_means=torch.from_numpy(means)), tmp_path
    )
    found = []
    for photo in photos:
        answer = client.post(f"/models/{known}/predict", content=photo, params={"capture": "true"})
        (kept,) = answer.json()["predictions"]
        found.append(client.get(f"/predictions/{kept['prediction']}").json()["distance"])
    assert found[0] == pytest.approx(0, abs=0.01)
    assert found[1] > 0.1

    narrow = upload(
        client, dataclasses.replace(model, class_means=torch.eye(1, 7, dtype=torch.int8)), tmp_path
    )
    refused = client.post(f"/models/{narrow}/predict", content=photos[0])
    problem(refused, 409, "invalid_artifact")
