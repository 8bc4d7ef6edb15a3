"""Images, models and requests that POST /predict refuses."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.integration.predictions.calls import AddModel, photo, predict, problem


def test_a_bad_image_only_affects_its_own_result(client: TestClient, add_model: AddModel) -> None:
    model = add_model()
    good = photo(5)
    [alone] = predict(client, model, good).json()["predictions"]
    response = predict(client, model, b"no image", good, b"", good[:100])
    assert response.status_code == 200
    first, second, third, fourth = response.json()["predictions"]
    for prediction in (first, third, fourth):
        assert set(prediction) == {"file", "error"}
        assert prediction["error"]["code"] == "unreadable_image"
        assert prediction["error"]["message"]
    assert second["label"] == alone["label"]
    assert second["score"] == pytest.approx(alone["score"], abs=1e-5)


def test_an_image_with_too_many_pixels_is_an_entry_of_its_own(
    client: TestClient, app: FastAPI, add_model: AddModel
) -> None:
    limit = app.state.predict_settings.max_pixels
    data = io.BytesIO()
    Image.new("1", (8001, limit // 8000)).save(data, "PNG")
    bad, good = predict(client, add_model(), data.getvalue(), photo(1)).json()["predictions"]
    assert bad["error"]["code"] == "unreadable_image"
    assert "label" in good


def test_only_bad_images(client: TestClient, add_model: AddModel) -> None:
    [prediction] = predict(client, add_model(), b"words").json()["predictions"]
    assert set(prediction) == {"file", "error"}


@pytest.mark.parametrize("model", ["mdl_00000000000000000000000000", "x", "../../etc/passwd", "\0"])
def test_an_unknown_model(client: TestClient, model: str) -> None:
    assert problem(predict(client, model, photo(1))) == (404, "model_not_found")


def test_a_deleted_model_is_gone_at_once(client: TestClient, add_model: AddModel) -> None:
    model = add_model()
    assert predict(client, model, photo(1)).status_code == 200  # it is in memory now
    assert client.delete(f"/models/{model}").status_code == 204
    assert problem(predict(client, model, photo(1))) == (404, "model_not_found")


def test_too_many_images(client: TestClient, add_model: AddModel) -> None:
    images = [b""] * 65
    response = predict(client, add_model(), *images)
    assert problem(response) == (413, "too_many_images")
    assert "maximum 64" in response.json()["detail"]


def test_a_body_that_is_too_large(client: TestClient, add_model: AddModel) -> None:
    assert problem(predict(client, add_model(), b"x" * 2_000_001)) == (413, "payload_too_large")


@pytest.mark.parametrize("top_k", ["0", "-1", "many", "1001"])
def test_a_top_k_that_makes_no_sense(client: TestClient, add_model: AddModel, top_k: str) -> None:
    response = predict(client, add_model(), photo(1), top_k=top_k)
    assert problem(response) == (422, "invalid_request")
    assert response.json()["errors"][0]["param"] == "top_k"


def test_weights_that_cannot_be_had_say_how_to_mend_it(
    client: TestClient, add_model: AddModel, tmp_path: Path
) -> None:
    model = add_model(name=f"local-dir:{tmp_path / 'nowhere'}")
    for _ in range(2):  # the second time from memory
        response = predict(client, model, photo(1))
        assert problem(response) == (503, "weights_unavailable")
        assert "nowhere" in response.json()["detail"]


def test_a_model_tuned_on_other_weights_is_refused(client: TestClient, add_model: AddModel) -> None:
    response = predict(client, add_model(digest="f" * 64), photo(1))
    assert problem(response) == (409, "backbone_mismatch")


def test_a_model_of_an_unknown_backbone_is_refused(client: TestClient, add_model: AddModel) -> None:
    assert problem(predict(client, add_model(name="no-such"), photo(1))) == (
        409,
        "unknown_backbone",
    )


def test_a_damaged_artefact(client: TestClient, add_model: AddModel) -> None:
    response = predict(client, add_model(data=b"no safetensors"), photo(1))
    assert problem(response) == (409, "invalid_artifact")


def test_a_lost_artefact(client: TestClient, app: FastAPI, add_model: AddModel) -> None:
    model = add_model()
    app.state.context.storage.delete(f"models/{model}.safetensors")
    assert problem(predict(client, model, photo(1))) == (409, "artifact_not_found")


def test_neither_images_nor_an_archive(client: TestClient, add_model: AddModel) -> None:
    response = client.post("/predict", data={"model": add_model()})
    assert problem(response) == (422, "invalid_request")
    assert (
        response.json()["detail"] == "Send exactly one of `images` and `archive` (a zip of images)."
    )


@pytest.mark.parametrize(("field", "param"), [("images", "images.0"), ("archive", "archive")])
def test_text_instead_of_a_file(
    client: TestClient, add_model: AddModel, field: str, param: str
) -> None:
    """As with curl, where the @ before the path was forgotten."""
    text = {"model": (None, add_model()), field: (None, "photo.jpg")}
    response = client.post("/predict", files=text)
    assert problem(response) == (422, "invalid_request")
    message = "must be a file; with curl, write @ before its path"
    assert response.json()["detail"] == f"{param}: {message}"
