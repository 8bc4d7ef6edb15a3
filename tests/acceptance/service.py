"""Calls to a running service that several tests make."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from tests.services import wait_until

Json = dict[str, Any]

ENDED = ("succeeded", "failed", "cancelled")
QUICK: Json = {"epochs": 2}
#: Settings that keep the worker busy until it is stopped.
LONG: Json = {"epochs": 1000, "batch_size": 1}


def post_job(
    service: httpx.Client,
    dataset: bytes,
    config: Mapping[str, Any] = QUICK,
    class_names: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    data = {"config": json.dumps(config)}
    if class_names is not None:
        data["class_names"] = json.dumps(class_names)
    files = {"dataset": ("photos.zip", dataset, "application/zip")}
    return service.post("/jobs", files=files, data=data, headers=headers)


def get_job(service: httpx.Client, job_id: str) -> Json:
    response = service.get(f"/jobs/{job_id}")
    assert response.status_code == 200, response.text
    job: Json = response.json()
    return job


def until(service: httpx.Client, job_id: str, *statuses: str, seconds: float = 600) -> Json:
    """The job, once it is in one of `statuses`."""
    wait_until(
        lambda: get_job(service, job_id)["status"] in statuses,
        seconds,
        f"job {job_id} to be {' or '.join(statuses)}",
        pause=0.1,  # each look costs the service something
    )
    return get_job(service, job_id)


def run_job(
    service: httpx.Client,
    dataset: bytes,
    config: Mapping[str, Any] = QUICK,
    class_names: Mapping[str, str] | None = None,
) -> Json:
    """Post a job that is taken, and wait for its end."""
    response = post_job(service, dataset, config, class_names)
    assert response.status_code == 202, response.text
    return until(service, response.json()["id"], *ENDED)


def error_of(service: httpx.Client, dataset: bytes, config: Mapping[str, Any] = QUICK) -> Json:
    """The error of a job that fails, after checks of what holds for every failed job."""
    job = run_job(service, dataset, config)
    assert job["status"] == "failed"
    assert job["model_id"] is None
    assert job["metrics"] is None
    assert job["finished_at"] is not None
    error: Json = job["error"]
    assert error["message"]
    return error


def problem_of(response: httpx.Response, status: int, code: str) -> Json:
    """The body of an RFC 9457 answer with this status and code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: Json = response.json()
    assert problem["status"] == status
    assert problem["code"] == code, problem
    assert problem["title"]
    assert problem["detail"]
    return problem


def stream(service: httpx.Client, job_id: str, last_event_id: int | None = None) -> Iterator[Json]:
    """Server-sent events of a job until the service ends the stream: {id, event, data}."""
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    with service.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            if line.startswith(":"):  # a sign of life
                continue
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield {
                    "id": int(fields["id"]),
                    "event": fields["event"],
                    "data": json.loads(fields["data"]),
                }
                fields = {}
