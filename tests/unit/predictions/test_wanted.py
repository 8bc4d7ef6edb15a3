"""Which model a request names, before it is parsed."""

from __future__ import annotations

import time

import httpx
import pytest

from app.predictions.wanted import model_of


def seen(request: httpx.Request) -> str | None:
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = {"type": "http", "path": request.url.path, "headers": headers}
    return model_of(scope, request.read())


PREDICT = "http://api/predict"
FIELD = b'name="model"\r\n'


@pytest.mark.parametrize(
    ("request_", "model"),
    [
        (httpx.Request("POST", "http://api/models/mdl_1/predict?top_k=1", content=b"x"), "mdl_1"),
        (httpx.Request("POST", "http://api/below/models/prod/classes", json={"a": 1}), "prod"),
        (httpx.Request("POST", PREDICT, json={"images": ["eA=="], "model": "mdl_1"}), "mdl_1"),
        (httpx.Request("POST", "http://api/models/compare", json={"a": "x", "b": "y"}), "x"),
        (
            httpx.Request(
                "POST", PREDICT, data={"top_k": "1", "model": "prod"}, files={"images": b"\r\n"}
            ),
            "prod",
        ),
        (httpx.Request("POST", PREDICT, data={"top_k": "1"}, files={"images": b"x"}), None),
        (httpx.Request("POST", PREDICT, content=b"model=prod"), None),
        (httpx.Request("POST", PREDICT, content=b'name="model"\r\n\r\nprod\r\n'), None),
        (httpx.Request("POST", PREDICT, json={"model": 3}), None),
    ],
)
def test_the_model_is_seen(request_: httpx.Request, model: str | None) -> None:
    assert seen(request_) == model


def test_the_time_is_linear_in_the_size() -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}

    def seconds(times: int) -> float:
        request = httpx.Request("POST", PREDICT, headers=headers, content=FIELD * times)
        taken = []
        for _ in range(5):
            start = time.thread_time()
            assert seen(request) is None
            taken.append(time.thread_time() - start)
        return min(taken)

    assert seconds(4000) < 40 * seconds(250)  # linear: 16; quadratic: 256
