"""A patient client of the API: one that sends again what did not come through."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from tests.services import wait_until

Json = dict[str, Any]

ENDED = ("succeeded", "failed", "cancelled")
_PAUSE = 0.05  # often enough, and the CPUs are the workers'


class Client:
    """Asks again where there is no answer, or one of 500 and up: the API may be away."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=30)

    def close(self) -> None:
        self.http.close()

    def send(self, method: str, path: str, seconds: float = 60, **parts: Any) -> httpx.Response:
        """The answer, whatever it is, once there is one. Raises AssertionError after `seconds`."""
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
        """Id of the job that is made; sent again with the same Idempotency-Key where it fails."""
        response = self.send("POST", "/jobs", **request)
        job_id: str = response.raise_for_status().json()["id"]
        return job_id

    def job(self, job_id: str) -> Json:
        job: Json = self.send("GET", f"/jobs/{job_id}").raise_for_status().json()
        return job

    def until(self, job_id: str, *statuses: str, seconds: float) -> Json:
        """The job, once it is in one of them. Raises AssertionError after `seconds`."""
        found: list[Json] = []

        def reached() -> bool:
            found.append(self.job(job_id))
            return found[-1]["status"] in statuses

        wait_until(reached, seconds, f"job {job_id} to be {' or '.join(statuses)}", _PAUSE)
        return found[-1]

    def post_in_pieces(
        self, request: Json, share: float, between: Callable[[], None]
    ) -> httpx.Response | None:
        """POST /jobs, `between` the first `share` of its bytes and the rest; None if it broke."""
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
    """What POST /jobs is sent."""
    return {
        "files": {"dataset": ("photos.zip", archive, "application/zip")},
        "data": {"config": json.dumps(config)},
        "headers": {"Idempotency-Key": key},
    }
