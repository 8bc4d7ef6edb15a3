"""The calls to the service that the demo makes: a job from upload to audit, and predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import httpx

Json = dict[str, Any]

#: The stream says something at least every 15 seconds, if only that it is still there.
_STREAM_SECONDS = 60.0


class ServiceError(Exception):
    """The service refused a call; the message is its explanation."""


class Client:
    """One service at `address`. Its methods raise ServiceError, and httpx.HTTPError."""

    def __init__(self, address: str) -> None:
        self._http = httpx.Client(base_url=address, timeout=_STREAM_SECONDS)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def create_job(self, dataset: bytes, class_names: Json, config: Json) -> Json:
        """Upload a zip and have a classifier tuned on it; returns the job, which is queued."""
        response = self._http.post(
            "/jobs",
            files={"dataset": ("photos.zip", dataset, "application/zip")},
            data={"class_names": json.dumps(class_names), "config": json.dumps(config)},
        )
        return _answer(response)

    def events(self, job_id: str) -> Iterator[tuple[str, Json]]:
        """(type, data) of each event as it happens; ends when the job has ended."""
        url, headers = f"/jobs/{job_id}/events", {"Accept": "text/event-stream"}
        with self._http.stream("GET", url, headers=headers) as response:
            if response.is_error:
                response.read()
                _answer(response)
            for line in response.iter_lines():
                if line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    yield event["type"], event["data"]

    def job(self, job_id: str) -> Json:
        return _answer(self._http.get(f"/jobs/{job_id}"))

    def audit(self, job_id: str) -> Json:
        """Every training file, the most suspicious label first."""
        return _answer(self._http.get(f"/jobs/{job_id}/audit"))

    def predict(self, model_id: str, images: Iterable[tuple[str, bytes]]) -> list[Json]:
        """One prediction for each (name, content), in their order."""
        files = [("images", (name, content)) for name, content in images]
        response = self._http.post("/predict", data={"model": model_id}, files=files)
        predictions: list[Json] = _answer(response)["predictions"]
        return predictions


def _answer(response: httpx.Response) -> Json:
    """The body; a problem document (RFC 9457) becomes a ServiceError."""
    if response.is_error:
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = response.text
        raise ServiceError(f"{response.request.url.path} answered {response.status_code}: {detail}")
    answer: Json = response.json()
    return answer
