"""Photos, and requests for predictions."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

FRUIT = ("apple", "banana", "cherry")

WEATHER = ("rain", "snow", "sunshine", "fog")

AddModel = Callable[..., str]


def photo(seed: int, size: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def predict(client: TestClient, model: str, *images: bytes, **fields: Any) -> Any:
    files = [("images", (f"{i}.png", image, "image/png")) for i, image in enumerate(images)]
    return client.post("/predict", data={"model": model, **fields}, files=files)


def problem(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]
