"""Log lines of the API name the request, and the job that it is about; so does the job's row."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from structlog.testing import LogCapture

from app.kit.context import Context
from app.tables.jobs import Job
from tests.integration.conftest import post_job
from tests.integration.databases import on_sqlite

pytestmark = on_sqlite


@pytest.fixture
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """All lines, with what is bound to them."""
    before, capture = structlog.get_config(), LogCapture()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, capture],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    yield capture.entries
    structlog.configure(**before)


def test_lines_about_a_job_name_it(
    client: TestClient, lines: list[MutableMapping[str, Any]]
) -> None:
    client.headers["X-Request-ID"] = "first"
    job_id = post_job(client)["id"]
    client.headers["X-Request-ID"] = "second"
    client.get(f"/jobs/{job_id}")
    client.get("/jobs/what_ever%0aelse")
    [queued] = [line for line in lines if line["event"] == "job queued"]
    assert (queued["job_id"], queued["request_id"]) == (job_id, "first")
    posted, looked, nothing = (line for line in lines if line["event"] == "request")
    assert posted["request_id"] == "first"
    assert (looked["job_id"], looked["request_id"]) == (job_id, "second")
    assert "job_id" not in nothing


def test_a_job_knows_the_request_that_wants_it(client: TestClient, live: Context) -> None:
    def request_id() -> str | None:
        with live.database.read() as session:
            return session.get_one(Job, job_id).request_id

    client.headers["X-Request-ID"] = "made"
    job_id = post_job(client)["id"]
    assert request_id() == "made"
    client.headers["X-Request-ID"] = "again"
    client.post(f"/jobs/{job_id}/cancel")
    assert request_id() == "made"
    client.post(f"/jobs/{job_id}/retry")
    assert request_id() == "again"
