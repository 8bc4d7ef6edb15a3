"""POST /predict with real artefacts on the built-in backbone; GET /backbones."""

from __future__ import annotations

import base64
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.kit import storage_keys
from app.kit.context import Context
from app.kit.settings import Settings
from app.main import create_app
from dspt.backbones.base import Backbone
from dspt.data import decode_image
from dspt.model.artifact import load_model
from dspt.model.predict import ImageClassifier
from tests.integration.conftest import local_client, zip_of
from tests.integration.predictions.calls import AddModel, photo, predict, problem
from tests.receiver import receiver
from worker.run import run_next


def test_the_answers_are_the_classifiers(
    client: TestClient, app: FastAPI, add_model: AddModel, backbone: Backbone
) -> None:
    model = add_model()
    images = [photo(seed) for seed in range(3)]
    response = predict(client, model, *images, top_k=2)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["model"], answer["served"]) == (model, "tuned")
    with app.state.context.storage.local_copy(f"models/{model}.safetensors") as path:
        classifier = ImageClassifier(load_model(path), backbone)
    expected = classifier.predict([decode_image(image) for image in images], top_k=2)
    for i, (prediction, top) in enumerate(zip(answer["predictions"], expected, strict=True)):
        assert prediction["file"] == f"{i}.png"
        assert [entry["label"] for entry in prediction["top"]] == [label for label, _ in top]
        assert [entry["score"] for entry in prediction["top"]] == pytest.approx(
            [score for _, score in top], abs=1e-4
        )
        assert prediction["label"] == top[0][0]
        assert prediction["score"] == prediction["top"][0]["score"]
        assert "error" not in prediction


def test_a_batch_gives_the_same_answers(
    client: TestClient, app: FastAPI, add_model: AddModel
) -> None:
    model = add_model()
    images = {f"a/{i}.png": photo(i) for i in range(3)} | {"b/=1.png": b"not an image"}
    files = {"archive": ("many.zip", zip_of(images))}
    made = client.post("/batches", data={"model": model, "top_k": 2}, files=files)
    assert made.status_code == 202, made.text
    batch = made.json()
    assert (batch["status"], batch["name"], batch["images"]) == ("queued", "many", None)
    assert made.headers["location"] == batch["links"]["self"]
    context: Context = app.state.context
    assert run_next(context, "worker")
    assert not run_next(context, "worker")

    batch = client.get(f"/batches/{batch['id']}").json()
    assert (batch["status"], batch["images"], batch["done"]) == ("succeeded", 4, 4)
    assert batch["unreadable"] == 1
    assert storage_keys.batch(batch["id"]) not in {file.name for file in context.storage.files()}
    where = batch["links"]["results"]
    lines = [json.loads(line) for line in client.get(where).text.splitlines()]
    assert [line["file"] for line in lines] == list(images)
    expected = predict(client, model, *images.values(), top_k=2).json()["predictions"]
    for line, one in zip(lines, expected, strict=True):
        assert line.get("label") == one.get("label")
        assert line.get("score") == pytest.approx(one.get("score"), abs=1e-4)
        assert line.get("error") == one.get("error")
    assert [json.loads(line) for line in client.get(f"{where}?after=3").text.splitlines()] == [
        lines[3]
    ]
    header, first, *_, last = csv.reader(client.get(f"{where}?format=csv").text.splitlines())
    assert header == ["file", "label", "score", "rejected", "error"]
    assert first[:2] == ["a/0.png", lines[0]["label"]]
    assert last[0] == "b/=1.png"
    assert last[4] == lines[3]["error"]["message"]


def test_a_plain_body_and_json_give_the_same_answer(
    client: TestClient, add_model: AddModel
) -> None:
    model, images = add_model(), [photo(1), photo(2)]
    where = f"/models/{model}/predict"
    expected = predict(client, model, *images, top_k=2, zero_shot=True).json()
    encoded = [base64.b64encode(image).decode() for image in images]
    encoded[1] = f"data:image/png;base64,{encoded[1]}"
    body = {"images": encoded, "top_k": 2, "zero_shot": True}
    found = client.post(where, json=body).json()
    assert found["model"] == expected["model"]
    for i, (ours, theirs) in enumerate(
        zip(found["predictions"], expected["predictions"], strict=True)
    ):
        assert ours["file"] == f"image {i}"
        for part in ("top", "zero_shot"):
            assert [entry["label"] for entry in ours[part]] == [e["label"] for e in theirs[part]]
            assert [entry["score"] for entry in ours[part]] == pytest.approx(
                [entry["score"] for entry in theirs[part]], abs=1e-5
            )
    options = {"top_k": 2, "reject_below": 1}
    [alone] = client.post(where, content=images[0], params=options).json()["predictions"]
    assert (alone["rejected"], len(alone["top"])) == (True, 2)
    assert alone["score"] == pytest.approx(expected["predictions"][0]["score"], abs=1e-5)

    [broken] = client.post(where, content=b"no image").json()["predictions"]
    assert broken["error"]["code"] == "unreadable_image"
    refused = client.post(where, json={"images": ["?"], "topk": 2})
    assert problem(refused) == (422, "invalid_request")
    assert [item["param"] for item in refused.json()["errors"]] == ["topk"]
    refused = client.post(where, json={"images": [encoded[0], "no base64!"]})
    assert problem(refused) == (422, "invalid_base64")
    assert refused.json()["errors"][0]["param"] == "images.1"
    too_many = client.post(where, json={"images": [""] * 1000})
    assert problem(too_many) == (413, "too_many_images")
    assert problem(client.post("/models/none/predict", content=images[0])) == (
        404,
        "model_not_found",
    )


def test_one_image_has_the_same_answer_to_the_byte_in_all_kinds_of_bodies(
    client: TestClient, add_model: AddModel
) -> None:
    model, image = add_model(), photo(1)
    where, options = f"/models/{model}/predict", {"top_k": 2, "zero_shot": True}
    encoded = {"images": [base64.b64encode(image).decode()], **options}
    answers = [
        client.post(where, content=image, params=options),
        client.post(where, json=encoded),
        client.post("/predict", json={"model": model, **encoded}),
        client.post(
            "/predict", data={"model": model, **options}, files={"images": ("image 0", image)}
        ),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.content for answer in answers}) == 1
    stream = client.post(
        "/predict",
        json={"model": model, **encoded},
        headers={"Accept": "application/x-ndjson"},
    )
    assert json.loads(stream.text.splitlines()[1]) == answers[0].json()["predictions"][0]
    # And the same refusals.
    for body, param in (({"images": [""]}, "model"), ({"model": model, "x": 1, **encoded}, "x")):
        refused = client.post("/predict", json=body)
        assert problem(refused) == (422, "invalid_request")
        assert [item["param"] for item in refused.json()["errors"]] == [param]
    without = client.post("/predict", files={"images": image})
    assert problem(without) == (422, "invalid_request")
    assert [item["param"] for item in without.json()["errors"]] == ["model"]


def test_images_by_url_come_from_allowed_hosts_only(
    client: TestClient, add_model: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*images: str) -> Any:
        return client.post("/predict", json={"model": model, "images": images})

    model, state = add_model(), client.app.state  # type: ignore[attr-defined]
    [item] = ask("https://example.com/a.png").json()["errors"]
    assert (item["param"], item["code"]) == ("images.0", "url_not_fetched")
    assert "DSPT_PREDICT_URL_HOSTS" in item["message"]
    local, urls = ["127.0.0.1"], state.image_urls
    with receiver() as host:
        host.content = photo(1)
        monkeypatch.setattr(urls, "_hosts", local)
        monkeypatch.setattr(urls, "_private_hosts", local)
        encoded = base64.b64encode(photo(1)).decode()
        fetched = ask(host.url)
        assert fetched.content == ask(encoded).content
        assert [p["file"] for p in ask(encoded, host.url).json()["predictions"]] == [
            "image 0",
            "image 1",
        ]
        host.statuses.append(302)
        assert "redirects are not followed" in ask(host.url).json()["detail"]
        host.content = b"x" * (state.settings.max_body_bytes + 1)
        assert "more than" in ask(host.url).json()["detail"]
        assert "is not one of the hosts" in ask("https://example.com/").json()["detail"]
        monkeypatch.setattr(urls, "_private_hosts", [])
        asked = len(host.requests)
        assert "https" in ask(host.url).json()["detail"]
        assert "private" in ask(host.url.replace("http:", "https:")).json()["detail"]
        assert len(host.requests) == asked


def test_pages_of_allowed_origins_may_call_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, no_auth=True, cors_origins=["https://shop.example"])
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    with local_client(create_app(settings)) as opened:
        preflight = opened.options(
            "/predict", headers=asked | {"Access-Control-Request-Headers": "authorization"}
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
        # An error can be read too. Without a key, a page may not use the local user's rights.
        refused = opened.get("/jobs", headers={"Origin": "https://shop.example"})
        assert problem(refused) == (403, "cross_site")
        assert refused.headers["access-control-allow-origin"] == "https://shop.example"
        other = opened.options("/predict", headers=asked | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_the_default_top_k_is_five(client: TestClient, add_model: AddModel) -> None:
    model = add_model([f"class {i}" for i in range(7)])
    [prediction] = predict(client, model, photo(1)).json()["predictions"]
    assert len(prediction["top"]) == 5
    [prediction] = predict(client, model, photo(1), top_k=100).json()["predictions"]
    assert len(prediction["top"]) == 7
    assert sum(entry["score"] for entry in prediction["top"]) == pytest.approx(1, abs=1e-5)


def test_backbones(client: TestClient) -> None:
    answer = client.get("/backbones").json()
    builtin = answer["data"][0]
    assert builtin["name"] == "builtin"
    assert builtin["weights"] == "present"
    assert builtin["embed_dim"] == 512
    assert builtin["image_size"] == 224
    assert "for trials" in answer["advice"]
    assert "ViT-B-16/openai" in answer["advice"]
    assert {"ViT-B-16/openai", "ViT-L-14/openai"} <= {b["name"] for b in answer["data"]}


def test_the_api_starts_without_torch() -> None:
    code = "import sys, app.main; app.main.create_app(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
