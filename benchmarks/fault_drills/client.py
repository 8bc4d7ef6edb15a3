"""A client of the API that retries until the API answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from tests.services import wait_until

Json = dict[str, Any]

ENDED = ("succeeded", "failed", "cancelled")
_PAUSE = 0.05  # seconds; a shorter one would take CPU time from the workers


class Client:
    """Retries when there is no answer or a 5xx, because the API may be down."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=30)

    def close(self) -> None:
        self.http.close()

    def send(self, method: str, path: str, seconds: float = 60, **parts: Any) -> httpx.Response:
        """Return the first answer below 500. Raises AssertionError after `seconds`."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            try:
                response = self.http.request(method, path, **parts)
            except httpx.TransportError:
                return False
            answers.append(response)
            return response.status_code < 500

        wait_until(answered, seconds, f"an answer to {method} {path}")
        return answers[-1]

    def post(self, request: Json) -> str:
        """Submit a job, with the same Idempotency-Key at each retry; return its id."""
        response = self.send("POST", "/jobs", **request)
        job_id: str = response.raise_for_status().json()["id"]
        return job_id

    def job(self, job_id: str) -> Json:
        job: Json = self.send("GET", f"/jobs/{job_id}").raise_for_status().json()
        return job

    def until(self, job_id: str, *statuses: str, seconds: float) -> Json:
        """Return the job once it has one of the statuses. Raises AssertionError after `seconds`."""
        found: list[Json] = []

        def reached() -> bool:
            found.append(self.job(job_id))
            return found[-1]["status"] in statuses

        wait_until(reached, seconds, f"job {job_id} to be {' or '.join(statuses)}", _PAUSE)
        return found[-1]

    def post_in_pieces(
        self, request: Json, share: float, between: Callable[[], None]
    ) -> httpx.Response | None:
        """Send POST /jobs in two parts, with `between` called in between; None if it breaks."""
        whole = self.http.build_request("POST", "/jobs", **request)
        body = whole.read()
        cut = round(len(body) * share)

        def pieces() -> Iterator[bytes]:
            yield body[:cut]
            between()
            yield body[cut:]

        try:
            return self.http.post("/jobs", content=pieces(), headers=whole.headers)
        except httpx.TransportError:
            return None


def request_for(archive: bytes, config: Mapping[str, Any], key: str) -> Json:
    """Return the arguments of POST /jobs."""
    return {
        "files": {"dataset": ("photos.zip", archive, "application/zip")},
        "data": {"config": json.dumps(config)},
        "headers": {"Idempotency-Key": key},
    }
