"""LitServe as its documents advise: a worker process that batches the images that wait."""

from __future__ import annotations

import base64
import os
from typing import Any

import litserve
from clip import Classifier, Rows


class Api(litserve.LitAPI):  # type: ignore[misc]
    """`predict` takes a batch, because `max_batch_size` is above 1."""

    def setup(self, device: str) -> None:
        self.classifier = Classifier()

    def decode_request(self, request: dict[str, str]) -> Rows:
        return self.classifier.crop(base64.b64decode(request["image"]))

    def predict(self, x: list[Rows]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = self.classifier.classify(x)
        return answers

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": [output]}


if __name__ == "__main__":
    api = Api(max_batch_size=8, batch_timeout=0.02, api_path="/predict")
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=int(os.environ["PEER_WORKERS"]), timeout=False
    )
    server.run(port=int(os.environ["PEER_PORT"]), log_level="warning", generate_client_file=False)
