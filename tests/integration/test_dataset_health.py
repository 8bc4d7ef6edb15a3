"""GET /datasets/{id}/health: the report of the newest job, for the owner only."""

from __future__ import annotations

from fastapi.testclient import TestClient

from app.kit.context import Context
from dspt.errors import DatasetError, Problem
from dspt.report.health import HealthReport
from tests.integration.conftest import post_job
from tests.integration.jobs import ERROR, claim, make_model, problem

REFUSED = HealthReport.refused(DatasetError([Problem("cat", "one_class", "the only class")]))
GOOD = REFUSED.to_dict() | {"usable": True, "images": 2, "findings": [], "later": "a new field"}


def test_the_report_of_the_newest_job_that_made_one(client: TestClient, live: Context) -> None:
    first = post_job(client)
    url = f"/datasets/{first['dataset']['id']}/health"
    found = problem(client.get(url), 409, "job_not_finished")
    assert first["id"] in found["detail"]
    claim(live, first["id"]).fail(ERROR)
    assert "dspt check" in problem(client.get(url), 404, "no_health_report")["detail"]

    second = post_job(client)
    claim(live, second["id"]).fail(ERROR, health=REFUSED.to_dict())
    report = client.get(url).json()
    assert (report["job_id"], report["usable"]) == (second["id"], False)
    assert report["findings"][0]["text"] == "cat: the only class"
    # a report lists files: it is no part of the job
    assert "health" not in client.get(f"/jobs/{second['id']}").json()

    third = post_job(client)
    lease = claim(live, third["id"])
    assert client.get(url).json()["job_id"] == second["id"]
    lease.start_running({"images": 2})
    model = make_model(third["id"])
    lease.succeed(model, config={}, metrics={}, audit_key="audits/a.json", health=GOOD)
    assert client.get(url).json() == {
        "object": "dataset_health",
        "dataset_id": first["dataset"]["id"],
        "job_id": third["id"],
        "created_at": client.get(f"/jobs/{third['id']}").json()["finished_at"],
    } | {name: value for name, value in GOOD.items() if name != "later"}

    client.delete(f"/jobs/{third['id']}")
    assert client.get(url).json()["job_id"] == second["id"]
    client.post(f"/jobs/{second['id']}/retry")
    problem(client.get(url), 409, "job_not_finished")


def test_other_ids_are_not_found(client: TestClient) -> None:
    problem(client.get(f"/datasets/ds_{'0' * 26}/health"), 404, "dataset_not_found")
    problem(client.get("/datasets/nonsense/health"), 404, "dataset_not_found")
