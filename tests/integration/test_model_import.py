"""POST /models: a classifier from elsewhere works here, and a hostile file is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from app.kit.context import Context
from dspt.model.artifact import save_model
from tests.integration.databases import sqlite_first
from tests.integration.jobs import files_in, problem
from tests.unit.models import manifest_values, raw_manifest, tuned_model, write

pytestmark = sqlite_first


CONTEXT = {"context": torch.zeros(16, 512)}


def post(client: TestClient, data: bytes, filename: str = "mine.safetensors", **form: str) -> Any:
    return client.post("/models", files={"artifact": (filename, data)}, data=form)


def artefact(folder: Path, **changes: Any) -> bytes:
    """As an untrusted program writes it, unchecked."""
    path = folder / "a.safetensors"
    write(path, CONTEXT, raw_manifest(**changes))
    return path.read_bytes()


def test_an_imported_model_is_one_like_any_other(
    client: TestClient, live: Context, tmp_path: Path
) -> None:
    save_model(tuned_model(), tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    response = post(client, data)
    assert response.status_code == 201, response.text
    model = response.json()
    assert response.headers["Location"] == model["links"]["self"] == f"/models/{model['id']}"
    assert (model["name"], model["job_id"], model["served"]) == ("mine", None, "tuned")
    assert model["classes"] == manifest_values()["classes"]
    assert model["metrics"]["tuned"]["accuracy"] == 0.75
    assert client.get(f"/models/{model['id']}").json() == model
    assert client.get(f"/models/{model['id']}/artifact").content == data
    assert files_in(live) == {f"models/{model['id']}.safetensors"}
    assert post(client, data, name="by name").json()["name"] == "by name"
    assert client.delete(f"/models/{model['id']}").status_code == 204


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "dspt.classifier/99"},
        {"classes": ["a", "a"]},
        {"classes": ["one"]},
        {"classes": ["x" * 501] * 10},
        {"classes": [f"a\x00{i}" for i in range(10)]},
        {"backbone_digest": "../../etc/passwd"},
        {"served": "both"},
        {"surprise": 1},
    ],
    ids=lambda changes: str(changes)[:30],
)
def test_a_manifest_that_is_not_right_is_refused(
    client: TestClient, live: Context, tmp_path: Path, changes: dict[str, Any]
) -> None:
    problem(post(client, artefact(tmp_path, **changes)), 422, "invalid_artifact")
    assert files_in(live) == set()


def test_what_is_no_artefact_is_refused(client: TestClient, live: Context, tmp_path: Path) -> None:
    whole = artefact(tmp_path)
    for data in (b"", b"PK\x03\x04", whole[:-1], whole[:20], b"\xff" * 8 + whole[8:]):
        problem(post(client, data), 422, "invalid_artifact")
    for tensor in (torch.full((16, 512), float("nan")), torch.zeros(16, 512, dtype=torch.int8)):
        path = tmp_path / "b.safetensors"
        write(path, {"context": tensor}, raw_manifest())
        problem(post(client, path.read_bytes()), 422, "invalid_artifact")
    assert files_in(live) == set()


def test_a_backbone_by_its_place_is_the_operators_to_allow(
    client: TestClient, live: Context, tmp_path: Path
) -> None:
    """Or a file would make the API read, or fetch, whatever its author names."""
    config = raw_manifest()["config"]
    for backbone in ("local-dir:/etc", "ViT-B-32@/etc/passwd", "hf-hub:owner/model"):
        data = artefact(tmp_path, config=config | {"backbone": backbone})
        problem(post(client, data), 422, "backbone_not_allowed")
    assert files_in(live) == set()


@pytest.mark.parametrize(
    "metrics",
    [{"a": "c\x00"}, {"a\x00": 1}, {"a": "\ud800"}, {"a": float("nan")}],
    ids=["NUL", "NUL in a key", "surrogate", "NaN"],
)
def test_values_that_databases_refuse_do_not_reach_them(
    client: TestClient, live: Context, tmp_path: Path, metrics: dict[str, Any]
) -> None:
    problem(post(client, artefact(tmp_path, metrics=metrics)), 422, "invalid_artifact")
    assert files_in(live) == set()


def test_a_file_without_a_name_gives_the_model_one(client: TestClient, tmp_path: Path) -> None:
    model = post(client, artefact(tmp_path), filename=".safetensors").json()
    assert model["name"] == "imported"


def test_imported_models_count_for_the_quota(
    client: TestClient, live: Context, tmp_path: Path
) -> None:
    data = artefact(tmp_path)
    object.__setattr__(live.settings, "max_stored_bytes_per_owner", len(data))
    assert post(client, data).status_code == 201
    before = files_in(live)
    assert "Retry-After" in post(client, data).headers
    problem(post(client, data), 429, "quota_bytes")
    assert files_in(live) == before
