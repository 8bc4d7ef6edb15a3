"""The same request sent twice makes one job: at once, in two processes, across a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi.testclient import TestClient

from app.kit.settings import Settings
from app.main import create_app
from tests.integration.conftest import local_client, zip_of
from tests.integration.jobs import files_in, problem

KEY = {"Idempotency-Key": "night run 7"}
TWINS = 12


def post(client: TestClient, content: bytes = b"a") -> Any:
    files = {"dataset": ("a.zip", zip_of({"cat/1.png": content}))}
    return client.post("/jobs", files=files, headers=KEY)


def test_twins_at_once_in_two_processes_make_one_job(settings: Settings) -> None:
    # At the limit, so that a twin must not take its brother's job for one too many.
    settings = settings.model_copy(update={"max_queued_jobs_per_owner": 1})
    with local_client(create_app(settings)) as one, local_client(create_app(settings)) as two:
        for client in (one, two):
            # FastAPI prepares its routes at the first request, which only one thread may do at a
            # time, as it switches off warnings meanwhile; here two processes are two threads.
            problem(client.get("/nothing"), 404, "not_found")
        with ThreadPoolExecutor(TWINS) as pool:
            answers = list(pool.map(lambda i: post((one, two)[i % 2]), range(TWINS)))
        assert {a.status_code for a in answers} == {202}, [a.text for a in answers]
        assert len({a.json()["id"] for a in answers}) == 1
        assert sum("idempotent-replayed" not in a.headers for a in answers) == 1
        assert len(one.get("/jobs").json()["data"]) == 1
        assert len(files_in(one.app.state.context)) == 1  # type: ignore[attr-defined]


def test_a_restart_forgets_no_key(settings: Settings) -> None:
    with local_client(create_app(settings)) as before:
        first = post(before)
    with local_client(create_app(settings)) as after:
        again = post(after)
        assert again.status_code == 202
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["id"] == first.json()["id"]
        problem(post(after, b"another body"), 409, "idempotency_key_reused")
        assert len(after.get("/jobs").json()["data"]) == 1
