"""Cancelling, deleting, listing and repeating jobs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.photos import good_zip, photos, zipped
from tests.acceptance.service import (
    ENDED,
    LONG,
    Json,
    get_job,
    post_job,
    problem_of,
    run_job,
    until,
)


@pytest.fixture
def busy(service: httpx.Client) -> Iterator[Json]:
    """A job that the worker is tuning and will not end by itself before long."""
    job = post_job(service, good_zip(), LONG).json()
    yield until(service, job["id"], "running")
    if get_job(service, job["id"])["status"] not in ENDED:
        service.post(f"/jobs/{job['id']}/cancel")
    until(service, job["id"], *ENDED)


def test_a_running_job_is_cancelled_between_two_steps(service: httpx.Client, busy: Json) -> None:
    response = service.post(f"/jobs/{busy['id']}/cancel")
    assert response.status_code == 202
    assert response.json()["status"] in ("cancelling", "cancelled")
    job = until(service, busy["id"], "cancelled", seconds=20)
    assert job["error"] is None
    assert job["model_id"] is None
    assert job["finished_at"] is not None
    events = service.get(f"/jobs/{job['id']}/events", params={"limit": 1000}).json()["data"]
    states = [event["data"]["status"] for event in events if event["type"] == "status"]
    assert states == ["queued", "validating", "running", "cancelling", "cancelled"]


def test_a_queued_job_is_cancelled_at_once(service: httpx.Client, busy: Json) -> None:
    waiting = post_job(service, good_zip()).json()
    assert waiting["status"] == "queued"
    assert waiting["progress"]["message"] == "waiting for a worker"
    response = service.post(f"/jobs/{waiting['id']}/cancel")
    assert response.status_code == 202
    assert response.json()["status"] == "cancelled"
    assert get_job(service, busy["id"])["status"] == "running"


def test_a_job_that_has_ended_cannot_be_cancelled(service: httpx.Client, tuned: Json) -> None:
    problem = problem_of(service.post(f"/jobs/{tuned['id']}/cancel"), 409, "job_finished")
    assert "succeeded" in problem["detail"]
    assert get_job(service, tuned["id"])["status"] == "succeeded"


def test_a_running_job_cannot_be_deleted_and_has_no_audit(
    service: httpx.Client, busy: Json
) -> None:
    problem = problem_of(service.delete(f"/jobs/{busy['id']}"), 409, "job_not_finished")
    assert "cancel" in problem["detail"].lower()
    problem_of(service.get(f"/jobs/{busy['id']}/audit"), 409, "job_not_finished")


def test_a_deleted_job_is_gone_and_its_model_stays(service: httpx.Client) -> None:
    job = run_job(service, good_zip())
    model = service.get(f"/models/{job['model_id']}").json()
    response = service.delete(f"/jobs/{job['id']}")
    assert response.status_code == 204
    assert response.content == b""
    for path in ("", "/events", "/audit"):
        problem_of(service.get(f"/jobs/{job['id']}{path}"), 404, "job_not_found")
    problem_of(service.delete(f"/jobs/{job['id']}"), 404, "job_not_found")
    left = service.get(f"/models/{model['id']}").json()
    assert left["job_id"] is None
    assert left["sha256"] == model["sha256"]
    assert service.get(f"/models/{model['id']}/artifact").status_code == 200


def test_a_deleted_model_is_gone_and_its_job_stays(service: httpx.Client) -> None:
    job = run_job(service, good_zip())
    url = f"/models/{job['model_id']}"
    assert service.delete(url).status_code == 204
    for path in (url, f"{url}/artifact"):
        problem_of(service.get(path), 404, "model_not_found")
    image = {"images": ("a.png", photos("apple", count=1)["apple/0.png"])}
    response = service.post("/predict", data={"model": job["model_id"]}, files=image)
    problem_of(response, 404, "model_not_found")
    assert get_job(service, job["id"])["status"] == "succeeded"


def test_the_same_request_under_the_same_key_makes_one_job(service: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = post_job(service, good_zip(), headers=headers)
    again = post_job(service, good_zip(), headers=headers)
    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    until(service, first.json()["id"], *ENDED)


def test_a_key_is_not_for_two_different_requests(service: httpx.Client) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = post_job(service, good_zip(), headers=headers).json()
    other = post_job(service, good_zip(), {"epochs": 3}, headers=headers)
    problem = problem_of(other, 409, "idempotency_key_reused")
    assert first["id"] in problem["detail"]
    until(service, first["id"], *ENDED)


def test_without_a_key_the_same_zip_makes_two_jobs_on_one_data_set(service: httpx.Client) -> None:
    one, two = (post_job(service, good_zip()).json() for _ in range(2))
    assert one["id"] != two["id"]
    assert one["dataset"]["id"] == two["dataset"]["id"]
    results = [until(service, job["id"], *ENDED)["metrics"]["tuned"] for job in (one, two)]
    assert results[0] == results[1]  # the same seed, the same result


def test_jobs_are_listed_newest_first_page_by_page(service: httpx.Client) -> None:
    made = [run_job(service, zipped({f"{i}.txt": b"x"}))["id"] for i in range(3)]
    first = service.get("/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in first["data"]] == made[:0:-1]
    assert first["has_more"] is True
    second = service.get("/jobs", params={"limit": 2, "after": first["next"]}).json()
    assert second["data"][0]["id"] == made[0]
    failed = service.get("/jobs", params={"limit": 3, "status": "failed"}).json()
    assert [job["id"] for job in failed["data"]] == made[::-1]
    queued = service.get("/jobs", params={"status": "queued"}).json()
    assert queued["data"] == []


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/jobs/{id}", "job_not_found"),
        ("GET", "/jobs/{id}/events", "job_not_found"),
        ("GET", "/jobs/{id}/audit", "job_not_found"),
        ("POST", "/jobs/{id}/cancel", "job_not_found"),
        ("DELETE", "/jobs/{id}", "job_not_found"),
        ("GET", "/models/{id}", "model_not_found"),
        ("GET", "/models/{id}/artifact", "model_not_found"),
        ("DELETE", "/models/{id}", "model_not_found"),
    ],
)
@pytest.mark.parametrize("id_", ["job_00000000000000000000000000", "nonsense", "%2E%2E", "%00"])
def test_an_unknown_id_is_not_found(
    service: httpx.Client, method: str, path: str, code: str, id_: str
) -> None:
    problem = problem_of(service.request(method, path.replace("{id}", id_)), 404, code)
    assert "There is no" in problem["detail"]


def test_the_stream_of_an_unknown_job_is_a_problem_too(service: httpx.Client) -> None:
    headers = {"Accept": "text/event-stream"}
    problem_of(service.get("/jobs/nonsense/events", headers=headers), 404, "job_not_found")


def test_an_unknown_data_set_id(service: httpx.Client) -> None:
    response = service.post("/jobs", data={"dataset_id": "ds_00000000000000000000000000"})
    problem = problem_of(response, 404, "dataset_not_found")
    assert problem["errors"][0]["param"] == "dataset_id"


def test_an_unknown_path(service: httpx.Client) -> None:
    assert "/docs" in problem_of(service.get("/nonsense"), 404, "not_found")["detail"]
