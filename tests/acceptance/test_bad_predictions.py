"""Requests to /predict that are bad in part, or as a whole."""

from __future__ import annotations

import httpx

from tests.acceptance.photos import photo
from tests.acceptance.service import Json, problem_of


def predict(service: httpx.Client, model_id: str, *images: tuple[str, bytes]) -> httpx.Response:
    files = [("images", image) for image in images]
    return service.post("/predict", data={"model": model_id}, files=files)


def test_a_bad_image_only_affects_its_own_result(service: httpx.Client, tuned: Json) -> None:
    apple, lime = photo("apple", 900), photo("lime", 901, "JPEG")
    response = predict(
        service,
        tuned["model_id"],
        ("apple.png", apple),
        ("notes.txt", b"These are words."),
        ("empty.png", b""),
        ("cut.jpg", lime[: len(lime) // 2]),
        ("lime.jpg", lime),
    )
    assert response.status_code == 200, response.text
    answers = {p["file"]: p for p in response.json()["predictions"]}
    assert list(answers) == ["apple.png", "notes.txt", "empty.png", "cut.jpg", "lime.jpg"]
    for name, reason in (
        ("notes.txt", "not an image"),
        ("empty.png", "empty (0 bytes)"),
        ("cut.jpg", "truncated"),
    ):
        assert answers[name]["error"]["code"] == "unreadable_image"
        assert reason in answers[name]["error"]["message"]
        assert "label" not in answers[name]
    alone = predict(service, tuned["model_id"], ("apple.png", apple), ("lime.jpg", lime)).json()
    for prediction in alone["predictions"]:
        beside = answers[prediction["file"]]
        assert beside["label"] == prediction["label"]
        assert abs(beside["score"] - prediction["score"]) < 1e-4


def test_only_bad_images(service: httpx.Client, tuned: Json) -> None:
    response = predict(service, tuned["model_id"], ("notes.txt", b"These are words."))
    assert response.status_code == 200
    [prediction] = response.json()["predictions"]
    assert prediction["error"]["code"] == "unreadable_image"


def test_an_unknown_model(service: httpx.Client) -> None:
    response = predict(service, "mdl_00000000000000000000000000", ("a.png", photo("apple", 1)))
    assert "list of models" in problem_of(response, 404, "model_not_found")["detail"]


def test_no_images(service: httpx.Client, tuned: Json) -> None:
    response = service.post("/predict", data={"model": tuned["model_id"]})
    problem = problem_of(response, 422, "invalid_request")
    assert [item["param"] for item in problem["errors"]] == ["images"]


def test_top_k_out_of_range(service: httpx.Client, tuned: Json) -> None:
    data = {"model": tuned["model_id"], "top_k": "0"}
    response = service.post("/predict", data=data, files={"images": ("a.png", photo("lime", 1))})
    problem = problem_of(response, 422, "invalid_request")
    assert [item["param"] for item in problem["errors"]] == ["top_k"]


def test_more_classes_asked_for_than_there_are(service: httpx.Client, tuned: Json) -> None:
    data = {"model": tuned["model_id"], "top_k": "1000"}
    response = service.post("/predict", data=data, files={"images": ("a.png", photo("lime", 1))})
    [prediction] = response.json()["predictions"]
    assert len(prediction["top"]) == len(tuned["dataset"]["classes"])
