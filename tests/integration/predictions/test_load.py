"""Requests for predictions that wait for others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.predictions.inference import Inference
from app.predictions.settings import PredictionSettings
from tests.integration.predictions.calls import FRUIT, WEATHER, AddModel, photo, predict, problem
from tests.services import wait_until


def test_requests_that_wait_go_through_the_tower_together(
    client: TestClient, app: FastAPI, add_model: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even for different models; and each gets its own answer."""
    models = [add_model(FRUIT, seed=1), add_model(WEATHER, seed=2), add_model(FRUIT, seed=3)]
    images = [photo(seed) for seed in range(3)]
    alone = [
        predict(client, model, image).json() for model, image in zip(models, images, strict=True)
    ]
    inference: Inference = app.state.inference
    batches: list[int] = []
    tower = next(iter(inference.backbones._resident.values().values())).image_tower
    handle = tower.register_forward_hook(lambda _m, inputs, _o: batches.append(len(inputs[0])))
    release = threading.Event()
    inference._towers._cpu_threads.submit(release.wait)  # the thread is busy
    try:
        with ThreadPoolExecutor(3) as pool:
            waiting = [
                pool.submit(predict, client, model, image)
                for model, image in zip(models, images, strict=True)
            ]
            batcher = inference._towers._on_cpu
            wait_until(
                lambda: sum(map(len, batcher._queues.get(None, {}).values())) == 3, 120, "3 waiting"
            )
            release.set()
            together = [future.result().json() for future in waiting]
    finally:
        release.set()
        handle.remove()
    assert batches == [3]
    for one, other in zip(alone, together, strict=True):
        assert other["model"] == one["model"]
        assert other["predictions"][0]["label"] == one["predictions"][0]["label"]
        assert other["predictions"][0]["score"] == pytest.approx(
            one["predictions"][0]["score"], abs=1e-4
        )


def test_a_request_larger_than_a_batch_is_cut(
    client: TestClient, app: FastAPI, add_model: AddModel
) -> None:
    model = add_model()
    assert predict(client, model, photo(0)).status_code == 200
    batches: list[int] = []
    tower = next(iter(app.state.inference.backbones._resident.values().values())).image_tower
    handle = tower.register_forward_hook(lambda _m, inputs, _o: batches.append(len(inputs[0])))
    answer = predict(client, model, *(photo(seed) for seed in range(40))).json()
    handle.remove()
    assert batches == [8] * 5
    assert [p["file"] for p in answer["predictions"]] == [f"{i}.png" for i in range(40)]


def test_a_request_while_too_many_wait_gets_a_retry_after(
    app: FastAPI, client: TestClient, add_model: AddModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add_model()
    assert predict(client, model, photo(1)).status_code == 200
    inference: Inference = app.state.inference
    monkeypatch.setattr(inference, "_settings", PredictionSettings(max_waiting_images=2))
    release = threading.Event()
    inference._towers._cpu_threads.submit(release.wait)
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(predict, client, model, photo(1), photo(2))
            wait_until(lambda: inference._waiting == 2, 120, "2 waiting")
            refused = predict(client, model, photo(3))
            release.set()
            assert first.result().status_code == 200
    finally:
        release.set()
    assert problem(refused) == (503, "busy")
    assert refused.headers["retry-after"] == "1"
    assert predict(client, model, photo(3)).status_code == 200
