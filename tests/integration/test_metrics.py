"""GET /metrics: what the API counts, and who may read it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.settings import Settings
from app.main import create_app
from app.metrics import from_database
from tests.integration.access import served
from tests.integration.conftest import local_client, post_job
from tests.integration.databases import on_postgres, on_sqlite
from tests.integration.jobs import problem


def figures(client: TestClient, **options: Any) -> dict[tuple[str, ...], float]:
    """Name and values of the labels, in the order of their names -> value."""
    response = client.get("/metrics", **options)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


@on_sqlite
def test_requests_are_counted_by_the_template_of_their_route(client: TestClient) -> None:
    for number in range(3):
        client.get(f"/jobs/job_{number}")
    client.get("/no/such/thing")
    client.request("BREW", "/jobs")
    found = figures(client)
    name = "dspt_http_requests_total"
    assert found[name, "GET", "/jobs/{job_id}", "404"] == 3
    assert found[name, "GET", "none", "404"] == 1
    assert found[name, "other", "/jobs", "405"] == 1
    assert found["dspt_http_request_seconds_count", "GET", "/jobs/{job_id}"] == 3
    assert found["dspt_http_request_seconds_sum", "GET", "/jobs/{job_id}"] > 0
    assert not any("job_1" in part or "such" in part for key in found for part in key)


def test_jobs_are_counted_by_state(client: TestClient) -> None:
    post_job(client)
    cancelled = post_job(client)
    client.post(f"/jobs/{cancelled['id']}/cancel")
    found = figures(client)
    assert found["dspt_jobs", "queued"] == found["dspt_jobs", "cancelled"] == 1
    assert found["dspt_jobs", "running"] == 0
    assert found["dspt_jobs_unsent",] == 1  # there is no broker
    assert found["dspt_queued", "default"] == 1
    assert found["dspt_workers", "default"] == 0


@on_sqlite
def test_the_figures_are_there_when_there_is_too_much_to_do(client: TestClient) -> None:
    client.app.state.reader.waiting = 10_000  # type: ignore[attr-defined]
    problem(client.get("/jobs"), 503, "busy")
    assert figures(client)["dspt_http_requests_total", "GET", "none", "503"] == 1


@on_postgres
def test_a_database_that_hangs_costs_its_own_figures_only(
    client: TestClient, live: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_database, "_TIMEOUT_SECONDS", 0.1)
    with live.database.engine.begin() as connection:
        connection.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        found = figures(client)
        assert ("dspt_jobs", "queued") not in found
        assert found["process_resident_memory_bytes",] > 0
    monkeypatch.undo()
    assert figures(client)["dspt_jobs", "queued"] == 0


@on_sqlite
def test_a_key_for_the_figures_opens_nothing_else(settings: Settings) -> None:
    with served(settings) as service:
        key = service.key("prometheus", Scope.METRICS)
        assert figures(service.client, headers=key)["dspt_jobs", "queued"] == 0
        for path in ("/jobs", "/models", "/backbones"):
            problem(service.client.get(path, headers=key), 403, "scope_missing")
        # They are of all owners together, which is none of each owner's business.
        anns = service.key("ann")
        problem(service.client.get("/metrics", headers=anns), 403, "scope_missing")


@on_sqlite
def test_each_application_counts_for_itself(settings: Settings) -> None:
    with local_client(create_app(settings)) as one, local_client(create_app(settings)) as other:
        one.get("/jobs")
        key = ("dspt_http_requests_total", "GET", "/jobs", "200")
        assert figures(one)[key] == 1
        assert key not in figures(other)
