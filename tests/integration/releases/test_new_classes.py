"""Classes added to a finished classifier by name."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import httpx
import torch
from dspt_client import AsyncClient, Client

from app.kit.context import Context
from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.model.add_class import add_classes
from dspt.model.artifact import load_model
from tests.integration.cli.calls import document, dspt
from tests.integration.jobs import files_in, problem
from tests.integration.predictions.calls import photo, predict
from tests.integration.releases.calls import METRICS, add, hand_in, tuned
from tests.unit.models import model_for


def test_a_class_is_added_by_its_name(
    client: httpx.Client, live: Context, backbone: Backbone, tmp_path: Path
) -> None:
    model = tuned(backbone)
    old = hand_in(client, model, tmp_path)
    response = add(client, old["id"], polar_bear=None, c17="coffee mug")
    assert response.status_code == 201, response.text
    new = response.json()
    assert response.headers["Location"] == new["links"]["self"] == f"/models/{new['id']}"
    assert new["classes"] == [*old["classes"], "polar_bear", "c17"]
    assert new["name"] == "pets + polar_bear, c17"
    assert new["job_id"] is None
    assert new["metrics"] == {
        "added_classes": ["polar_bear", "c17"],
        "before": METRICS,
        "blend": METRICS["blend"],
        "parent": {"id": old["id"], "sha256": old["sha256"]},
    }
    assert client.get(new["links"]["self"]).json() == new
    assert client.get(old["links"]["self"]).json() == old

    with live.storage.local_copy(f"models/{new['id']}.safetensors") as path:
        stored = load_model(path)
    expected = add_classes(model, {"polar_bear": None, "c17": "coffee mug"}, backbone)
    assert stored.blend is not None
    assert expected.blend is not None
    torch.testing.assert_close(stored.blend.matrix, expected.blend.matrix)
    assert stored.manifest.metrics == new["metrics"]
    answer = predict(client, new["id"], photo(1), top_k=20).json()["predictions"][0]
    assert {"polar_bear", "c17"} < {entry["label"] for entry in answer["top"]}


def test_errors_of_new_classes_are_reported(
    client: httpx.Client, live: Context, backbone: Backbone, tmp_path: Path
) -> None:
    model_id = hand_in(client, tuned(backbone), tmp_path)["id"]
    before = files_in(live)
    found = problem(add(client, model_id, Class_1=None, CLASS_2=None), 422, "class_exists")
    assert [item["param"] for item in found["errors"]] == ["Class_1", "CLASS_2"]
    problem(add(client, model_id, whale=", ".join("a" * 66)), 422, "prompt_too_long")
    problem(add(client, model_id, whale="wh\u202eale"), 422, "invalid_class_words")
    response = client.post(
        f"/models/{model_id}/classes", content=b'{"classes": {"a\\ud800": null}}'
    )
    problem(response, 422, "invalid_request")
    problem(add(client, model_id), 422, "invalid_request")
    problem(add(client, "mdl_00000000000000000000000000", whale=None), 404, "model_not_found")
    assert files_in(live) == before


def test_models_that_take_no_classes(
    client: httpx.Client, live: Context, backbone: Backbone, tmp_path: Path
) -> None:
    config = TuneConfig(n_ctx=4, class_specific_context=True)
    context = torch.zeros(10, 4, backbone.text_tower.width)
    specific = dataclasses.replace(model_for(backbone, config=config), context=context)
    gone = hand_in(client, tuned(backbone), tmp_path)["id"]
    live.storage.delete(f"models/{gone}.safetensors")
    cases = [
        (hand_in(client, specific, tmp_path)["id"], 422, "invalid_config"),
        (hand_in(client, tuned(backbone, metrics={}), tmp_path)["id"], 409, "invalid_artifact"),
        (
            hand_in(client, tuned(backbone, backbone_digest="0" * 64), tmp_path)["id"],
            409,
            "backbone_mismatch",
        ),
        (gone, 404, "artifact_not_found"),
    ]
    for model_id, status, code in cases:
        problem(add(client, model_id, whale=None), status, code)


def test_a_class_is_added_from_python_and_the_shell(
    api: tuple[str, Context], shell: None, client: httpx.Client, backbone: Backbone, tmp_path: Path
) -> None:
    model_id = hand_in(client, tuned(backbone), tmp_path)["id"]
    with Client(api[0]) as blocking:
        assert blocking.models.add_classes(model_id, "whale").classes[10:] == ["whale"]
        found = blocking.models.add_classes(model_id, ["whale", "owl"])
        assert found.classes[10:] == ["whale", "owl"]

    async def added() -> list[str]:
        async with AsyncClient(api[0]) as opened:
            return (await opened.models.add_classes(model_id, {"c17": "coffee mug"})).classes

    assert asyncio.run(added())[10:] == ["c17"]
    new = document("models", "add-class", model_id, "whale", "--words", "blue whale")
    assert new["classes"][10:] == ["whale"]
    assert "pets + whale" in dspt("models", "add-class", model_id, " whale").stdout
    refused = dspt("models", "add-class", new["id"], "Whale", ends=1)
    assert "the model already has this class as 'whale'" in refused.stderr
