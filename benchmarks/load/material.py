"""What is sent with the requests."""

from __future__ import annotations

import json
from dataclasses import dataclass

from benchmarks.http import form
from benchmarks.http.connection import Client


@dataclass(frozen=True)
class Material:
    """Photos, and how long to tune on them."""

    zip: bytes
    image: bytes
    epochs: int

    def job(self, client: Client, *, seed: int, epochs: int | None = None) -> bytes:
        """POST /jobs; another seed makes another job."""
        config = json.dumps({"epochs": epochs or self.epochs, "seed": seed})
        parts = [form.field("config", config), form.file("dataset", "photos.zip", self.zip)]
        return client.request("POST", "/jobs", form.HEADERS, form.body(parts))

    def prediction(self, client: Client, model_id: str) -> bytes:
        """POST /predict."""
        parts = [form.field("model", model_id), form.file("images", "1.jpg", self.image)]
        return client.request("POST", "/predict", form.HEADERS, form.body(parts))
