"""POST /predict of many images: lines as they come, zips; zero-shot beside; rejection."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from app.kit import storage_keys
from app.kit.settings import Settings
from app.main import create_app
from app.predictions import service, stream
from app.predictions.inference import Inference
from app.predictions.settings import PredictionSettings
from dspt.backbones import load_backbone
from dspt.model.artifact import save_model
from dspt.model.predict import ImageClassifier
from tests.integration.conftest import local_client, zip_of
from tests.integration.own_api import running
from tests.services import wait_until
from tests.unit.models import model_for

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("streams"), no_auth=True))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with local_client(app) as opened:
        yield opened


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(model_for(load_backbone("builtin")), path)
    return path.read_bytes()


def import_model(client: TestClient | httpx.Client, artifact: bytes) -> str:
    response = client.post("/models", files={"artifact": ("m.safetensors", artifact)})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


@pytest.fixture(scope="module")
def model(client: TestClient, artifact: bytes) -> str:
    return import_model(client, artifact)


def photo(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def files(images: list[bytes]) -> list[Any]:
    return [("images", (f"{i}.png", image)) for i, image in enumerate(images)]


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def ask(client: TestClient, model: str, images: list[bytes], **fields: Any) -> dict[str, Any]:
    response = client.post("/predict", data={"model": model, **fields}, files=files(images))
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_stream_says_the_same_line_by_line(client: TestClient, model: str) -> None:
    images = [photo(1), b"no image", photo(2)]
    whole = ask(client, model, images)
    response = client.post("/predict", data={"model": model}, files=files(images), headers=NDJSON)
    first, *predictions, last = lines(response)
    assert first == {"model": model, "served": "tuned", "images": 3}
    assert [each["file"] for each in predictions] == ["0.png", "1.png", "2.png"]
    for one, other in zip(predictions, whole["predictions"], strict=True):
        assert one.get("label") == other.get("label")
        assert one.get("error") == other.get("error")
    assert last == {"done": True, "classified": 2, "unreadable": 1}


def test_a_zip_of_images(client: TestClient, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than two shares, so that each has to wait for one before it."""
    monkeypatch.setattr(stream, "CHUNK", 4)
    names = [f"shoot/{i:02}.png" for i in range(11)]
    members = {name: photo(seed) for seed, name in enumerate(names)}
    archive = zip_of(members | {"shoot/notes.txt": b"none", "__MACOSX/x": b"", ".hidden": b""})
    response = client.post("/predict", data={"model": model}, files={"archive": ("a.zip", archive)})
    first, *predictions, last = lines(response)
    assert first["images"] == 12
    assert [each["file"] for each in predictions] == [*names, "shoot/notes.txt"]
    assert predictions[-1]["error"]["code"] == "unreadable_image"
    assert last == {"done": True, "classified": 11, "unreadable": 1}
    alone = ask(client, model, [members[names[7]]])["predictions"][0]
    assert predictions[7]["label"] == alone["label"]
    assert predictions[7]["score"] == pytest.approx(alone["score"], abs=1e-4)


def test_an_empty_zip(client: TestClient, model: str) -> None:
    files = {"archive": ("a.zip", zip_of({}))}
    first, last = lines(client.post("/predict", data={"model": model}, files=files))
    assert (first["images"], last["classified"], last["unreadable"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("archive", "code"), [(b"no zip", "not_a_zip"), (zip_of({"../x.png": b"1"}), "unsafe_path")]
)
def test_a_bad_zip_is_refused(client: TestClient, model: str, archive: bytes, code: str) -> None:
    response = client.post("/predict", data={"model": model}, files={"archive": ("a.zip", archive)})
    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == code


def test_a_zip_with_too_many_files(
    client: TestClient, app: FastAPI, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        app.state._state, "predict_settings", PredictionSettings(max_archive_images=1)
    )
    archive = zip_of({"1.png": photo(1), "2.png": photo(2)})
    response = client.post("/predict", data={"model": model}, files={"archive": ("a.zip", archive)})
    assert (response.status_code, response.json()["code"]) == (422, "too_many_files")
    assert "more than 1 files" in response.json()["detail"]


def test_images_or_a_zip(client: TestClient, model: str) -> None:
    both = {"archive": ("a.zip", zip_of({})), "images": ("1.png", photo(1))}
    for sent in ({"data": {"model": model}}, {"data": {"model": model}, "files": both}):
        response = client.post("/predict", **sent)  # type: ignore[arg-type]
        assert response.status_code == 422
        assert response.json()["errors"][0]["param"] == "images"


def test_a_stream_needs_room(
    client: TestClient, app: FastAPI, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that it will ever hold is set aside before it begins: it is not refused in its middle."""
    inference: Inference = app.state.inference
    monkeypatch.setattr(inference, "_settings", PredictionSettings(max_waiting_images=64))
    sent = {"archive": ("a.zip", zip_of({"1.png": photo(1)}))}
    with inference.room(1, None):
        response = client.post("/predict", data={"model": model}, files=sent)
        assert (response.status_code, response.json()["code"]) == (503, "busy")
    assert inference._waiting == 0
    assert lines(client.post("/predict", data={"model": model}, files=sent))[-1]["done"]
    assert inference._waiting == 0


def test_zero_shot_beside(client: TestClient, model: str) -> None:
    backbone = load_backbone("builtin")
    [found] = ask(client, model, [photo(1)], zero_shot=True, top_k=3)["predictions"]
    image = Image.open(io.BytesIO(photo(1)))
    for key, expected in (
        ("top", ImageClassifier(model_for(backbone), backbone)),
        ("zero_shot", ImageClassifier(model_for(backbone, served="zero_shot"), backbone)),
    ):
        [top] = expected.predict([image], 3)
        assert [each["label"] for each in found[key]] == [label for label, _ in top]
        for each, (_, score) in zip(found[key], top, strict=True):
            assert each["score"] == pytest.approx(score, abs=1e-4)
    assert found["zero_shot"] != found["top"]
    assert "zero_shot" not in ask(client, model, [photo(1)])["predictions"][0]


def test_what_is_too_improbable_gets_no_label(client: TestClient, model: str) -> None:
    [plain] = ask(client, model, [photo(1)])["predictions"]
    assert "rejected" not in plain
    [kept] = ask(client, model, [photo(1)], reject_below=plain["score"] - 0.01)["predictions"]
    assert kept["label"] == plain["label"]
    [rejected] = ask(client, model, [photo(1)], reject_below=plain["score"] + 0.01)["predictions"]
    assert rejected["rejected"] is True
    assert "label" not in rejected
    assert rejected["top"][0]["label"] == plain["label"]
    response = client.post(
        "/predict", data={"model": model, "reject_below": "1.5"}, files=files([photo(1)])
    )
    assert response.status_code == 422


def test_a_stream_that_takes_too_long_ends_with_an_error(
    client: TestClient, app: FastAPI, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(client, model, [photo(1)])
    inference: Inference = app.state.inference
    monkeypatch.setitem(
        app.state._state, "predict_settings", PredictionSettings(deadline_seconds=0.2)
    )
    runs: list[int] = []
    tower = next(iter(inference.backbones._resident.values().values())).image_tower
    handle = tower.register_forward_hook(lambda *_: runs.append(1))
    threads = inference._towers._cpu_threads
    release = threads.submit(time.sleep, 1)  # the tower is busy with something else
    try:
        response = client.post("/predict", data={"model": model}, files=files([photo(1)]))
        assert (response.status_code, response.json()["code"]) == (503, "deadline")
        assert "DSPT_PREDICT_DEADLINE_SECONDS" in response.json()["detail"]
        assert response.headers["retry-after"]
        release.result()
        threads.submit(lambda: None).result()  # what waited has had its turn
        assert runs == []  # the client has gone away
    finally:
        handle.remove()
    assert inference._waiting == 0


@pytest.mark.usefixtures("stopped_rate_window")
def test_images_count_against_the_rate(tmp_path: Path, artifact: bytes) -> None:
    limited = create_app(Settings(data_dir=tmp_path, no_auth=True, images_per_minute=5))
    with local_client(limited) as client:
        model = import_model(client, artifact)
        sent = {"url": "/predict", "data": {"model": model}}
        assert client.post(**sent, files=files([photo(1)] * 3)).status_code == 200
        refused = client.post(**sent, files=files([photo(1)] * 3))
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert "5 images per minute" in refused.json()["detail"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert client.post(**sent, files=files([photo(1)] * 2)).status_code == 200
        assert client.get("/models").status_code == 200


def test_a_client_that_goes_away(
    tmp_path: Path, artifact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real connection, which is closed while the images are at work."""
    gone: list[str] = []

    def note(request: Request, _error: Exception) -> Response:
        gone.append(request.url.path)
        return Response(status_code=499)

    monkeypatch.setattr("app.kit.http.error_handlers._on_disconnect", note)
    with running(Settings(data_dir=tmp_path, no_auth=True)) as (url, _):
        with httpx.Client(base_url=url, timeout=600) as client:
            model = import_model(client, artifact)
            client.post("/predict", data={"model": model}, files=files([photo(1)]))
        assert gone == []
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{url}/predict",
                data={"model": model},
                files=files([photo(1)] * 64),
                timeout=httpx.Timeout(60, read=0.001),
            )
        wait_until(lambda: gone == ["/predict"], 120, "the service to give it up")


def test_captured_photos_have_ids_in_each_kind_of_answer(
    client: TestClient, app: FastAPI, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [photo(1), b"no image", photo(2)]
    whole = ask(client, model, photos, capture="true", top_k=1)["predictions"]
    assert [("prediction" in each, len(each.get("top", ()))) for each in whole] == [
        (True, 1),
        (False, 0),
        (True, 1),
    ]
    data = {"model": model, "capture": "true"}
    streamed = client.post("/predict", data=data, files=files(photos[:1]), headers=NDJSON)
    where = f"/models/{model}/predict"
    encoded = [base64.b64encode(photos[0]).decode()]
    as_json = client.post(where, json={"images": encoded, "capture": True}).json()
    as_body = client.post(where, content=photos[0], params={"capture": "true"}).json()
    one = [lines(streamed)[1], as_json["predictions"][0], as_body["predictions"][0]]
    ids = [each["prediction"] for each in (whole[0], whole[2], *one)]
    listed = client.get(f"/models/{model}/predictions").json()["data"]
    assert [each["id"] for each in listed] == sorted(ids, reverse=True)
    kept = {each["id"]: each for each in listed}[ids[0]]
    assert (kept["file"], kept["predicted"]) == ("0.png", whole[0]["label"])
    assert kept["score"] == pytest.approx(whole[0]["score"])
    with app.state.context.storage.open(storage_keys.capture(ids[0])) as file:
        assert file.read() == photos[0]
    chosen = client.get(f"/models/{model}/predictions", params={"order": "instructive", "limit": 2})
    assert len({each["file"] for each in chosen.json()["data"]}) == 2  # copies teach nothing

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(app.state.context.storage), "put_bytes", full)
    (answer,) = ask(client, model, photos[:1], capture="true")["predictions"]
    assert answer["label"] == whole[0]["label"]
    assert answer["not_captured"]["code"] == "storage_unavailable"
    assert "prediction" not in answer


def test_an_alias_captures_a_share_of_its_predictions(
    client: TestClient, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [photo(number) for number in range(4)]

    def put(**wanted: Any) -> Any:
        answer = client.put("/aliases/production", json={"model": model, **wanted})
        assert answer.status_code == 200, answer.text
        return answer.json()["capture"]

    ids: list[str] = []

    def kept(name: str = "production") -> list[bool]:
        found = ask(client, name, photos)["predictions"]
        ids.extend(each["prediction"] for each in found if "prediction" in each)
        return ["prediction" in each for each in found]

    assert put() == 0
    assert kept() == [False] * 4
    assert put(capture=0.5) == put() == 0.5  # left out: as before
    draws = iter([0.49, 0.5, 0.0, 0.99])
    monkeypatch.setattr(service.random, "random", lambda: next(draws))
    assert kept() == [True, False, True, False]
    monkeypatch.undo()
    assert put(capture=1) == 1
    assert kept() == [True] * 4
    assert kept(model) == [False] * 4  # by id
    listed = client.get(f"/models/{model}/predictions").json()["data"]
    assert [each["id"] for each in listed][: len(ids)] == sorted(ids, reverse=True)
    assert client.get("/aliases/production").json()["history"][0]["number"] == 1  # never moved
    for wrong in (-0.1, 1.1, "much"):
        refused = client.put("/aliases/production", json={"model": model, "capture": wrong})
        assert refused.status_code == 422
    assert client.delete("/aliases/production").status_code == 204
    assert put() == 0
    assert kept() == [False] * 4
