"""POST /jobs/{id}/retry; nothing runs the jobs here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.kit.context import Context
from app.tables.datasets import Dataset
from app.tables.jobs import OutboxEntry
from tests.integration.conftest import post_job
from tests.integration.corrections import correct, corrections_of, finish, finished
from tests.integration.databases import on_both, sqlite_first
from tests.integration.jobs import ERROR, claim, problem, read_job, statuses

pytestmark = sqlite_first


def fail(context: Context, job_id: str) -> None:
    lease = claim(context, job_id)
    lease.start_running({"images": 8, "classes": ["cat", "dog"]})
    lease.report([], progress={"stage": "tuning", "fraction": 0.5}, warnings=["hm"])
    lease.fail(ERROR)


def test_a_failed_job_goes_back_to_the_queue(client: TestClient, live: Context) -> None:
    job = post_job(client, name="pets", config='{"epochs": 7}')
    assert "retry" not in job["links"]
    fail(live, job["id"])
    failed = client.get(job["links"]["self"]).json()
    response = client.post(failed["links"]["retry"])
    assert response.status_code == 202
    again = response.json()
    # As it was before, but for when it was first taken.
    assert again == job | {"started_at": failed["started_at"]}
    assert client.get(job["links"]["self"]).json() == again
    events = client.get(job["links"]["events"]).json()["data"]
    assert [event["id"] for event in events] == [1, 2, 3, 4, 5]
    assert events[-1]["data"] == {"status": "queued", "attempt": 0}
    with live.database.read() as session:
        assert session.get(OutboxEntry, job["id"]) is not None
    finish(live, job["id"])
    assert statuses(live, job["id"])[-4:] == ["queued", "validating", "running", "succeeded"]
    assert read_job(live, job["id"]).attempt == 1


def test_a_cancelled_job_goes_back_to_the_queue(client: TestClient, live: Context) -> None:
    job = post_job(client)
    cancelled = client.post(job["links"]["cancel"]).json()
    assert client.post(cancelled["links"]["retry"]).json() == job
    assert statuses(live, job["id"]) == ["queued", "cancelled", "queued"]


@pytest.mark.parametrize(
    ("bring", "code"),
    [
        (lambda _context, _job_id: None, "job_not_finished"),
        (claim, "job_not_finished"),
        (finish, "job_succeeded"),
    ],
    ids=["queued", "validating", "succeeded"],
)
def test_another_job_is_not_tried_again(
    client: TestClient, live: Context, bring: Callable[[Context, str], object], code: str
) -> None:
    job_id = post_job(client)["id"]
    bring(live, job_id)
    before = client.get(f"/jobs/{job_id}").json()
    assert "retry" not in before["links"]
    found = problem(client.post(f"/jobs/{job_id}/retry"), 409, code)
    assert before["status"] in found["detail"]
    assert client.get(f"/jobs/{job_id}").json() == before


def test_no_such_job(client: TestClient) -> None:
    problem(client.post("/jobs/job_1/retry"), 404, "job_not_found")


def test_a_job_on_corrections_is_tried_again_on_the_same(client: TestClient, live: Context) -> None:
    job = correct(client, finished(client, live), relabel={"cat/0.png": "dog"}, drop=["cat/1.png"])
    before = corrections_of(live, job)
    fail(live, job["id"])
    again = client.post(f"/jobs/{job['id']}/retry").json()
    assert again["dataset"] == job["dataset"]
    assert corrections_of(live, again) == before


@on_both
@pytest.mark.parametrize("corrected", [False, True])
def test_photos_that_have_expired(client: TestClient, live: Context, corrected: bool) -> None:
    """Those of corrections lie in the zip that was uploaded."""
    zip_job = finished(client, live)
    job = correct(client, zip_job, drop=["cat/0.png"]) if corrected else post_job(client)
    fail(live, job["id"])
    with live.database.write() as session:
        zip_file = update(Dataset).where(Dataset.id == zip_job["dataset"]["id"])
        session.execute(zip_file.values(expired_at=datetime.now(UTC)))
    assert "retry" not in client.get(job["links"]["self"]).json()["links"]
    found = problem(client.post(f"/jobs/{job['id']}/retry"), 409, "dataset_expired")
    assert "Upload them again" in found["detail"]
    assert read_job(live, job["id"]).status == "failed"
