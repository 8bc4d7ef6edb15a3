"""Corrections that are refused: what is wrong with them is said, and nothing is done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.kit.context import Context
from tests.integration.conftest import context_of, post_job
from tests.integration.corrections import finished
from tests.integration.databases import sqlite_first
from tests.integration.jobs import files_in, problem

pytestmark = sqlite_first


def test_all_errors_are_reported_at_once_and_no_job_is_created(
    client: TestClient, live: Context
) -> None:
    old = finished(client, live)
    before = files_in(live)
    body = {
        "relabel": {"cat/9.png": "dog", "cat/0.png": "fox", "dog/0.png": "cat"},
        "drop": [*(f"dog/{i}.png" for i in range(4)), "../../../etc/passwd"],
    }
    response = client.post(old["links"]["corrections"], json=body)
    found = problem(response, 422, "unknown_file")
    assert [(item["param"], item["code"]) for item in found["errors"]] == [
        ("cat/9.png", "unknown_file"),
        ("../../../etc/passwd", "unknown_file"),
        ("dog/0.png", "relabelled_and_dropped"),
        ("cat/0.png", "unknown_class"),
        ("dog", "empty_class"),
    ]
    assert all(item["message"] for item in found["errors"])
    assert len(client.get("/jobs").json()["data"]) == 1
    assert files_in(live) == before


@pytest.fixture(scope="module")
def audited(unchanged: TestClient) -> dict[str, Any]:
    """The one job of `unchanged`, finished."""
    return finished(unchanged, context_of(unchanged))


@pytest.mark.parametrize(
    ("body", "code", "params"),
    [
        (b"{}", "nothing_changed", [None]),
        (b"", "invalid_request", ["body"]),
        (b"[1]", "invalid_request", ["body"]),
        (b"[" * 100_000, "invalid_request", ["body"]),
        (b"\xff\xfe", "invalid_request", ["body"]),
        (b'{"relabel": {"cat/0.png": "\\ud800"}}', "invalid_request", ["body"]),
        (b'{"dropp": []}', "invalid_request", ["dropp"]),
        (b'{"relabel": ["cat/0.png"]}', "invalid_request", ["relabel"]),
        (b'{"relabel": {"cat/0.png": 1}}', "invalid_request", ["relabel.cat/0.png"]),
        (b'{"drop": [""]}', "invalid_request", ["drop.0"]),
        (b'{"drop": "cat/0.png"}', "invalid_request", ["drop"]),
        (b'{"keep": ["cat/0.png"], "drop": ["cat/0.png"]}', "kept_and_changed", ["cat/0.png"]),
        (
            b'{"relabel": {"cat/0.png": "fox"}, "new_classes": ["fox"]}',
            "invalid_request",
            ["new_classes"],
        ),
        (
            b'{"drop": ["cat/0.png"], "new_classes": {"fox": null}}',
            "unused_class",
            ["fox"],
        ),
        (
            b'{"relabel": {"cat/0.png": "Dog"}, "new_classes": {"Dog": null}}',
            "class_exists",
            ["Dog"],
        ),
        (b'{"drop": ["' + b"x" * 1001 + b'"]}', "invalid_request", ["drop.0"]),
        (b'{"drop": ["cat/0.png"], "name": "a\\u0000b"}', "invalid_name", ["name"]),
        (b'{"drop": ["cat/0.png"], "name": "' + b"x" * 201 + b'"}', "invalid_request", ["name"]),
        (b'{"drop": ["cat/0.png"], "config": {"epochz": 3}}', "invalid_config", ["epochz"]),
        (
            b'{"drop": ["cat/0.png"], "config": {"backbone": "local-dir:/etc"}}',
            "backbone_not_allowed",
            ["backbone"],
        ),
    ],
    ids=lambda value: value[:40].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_a_wrong_body_is_named(
    unchanged: TestClient,
    audited: dict[str, Any],
    body: bytes,
    code: str,
    params: list[str | None],
) -> None:
    headers = {"Content-Type": "application/json"}
    response = unchanged.post(audited["links"]["corrections"], content=body, headers=headers)
    found = problem(response, 422, code)
    assert [item["param"] for item in found["errors"]] == params
    assert len(response.content) < 3000
    assert len(unchanged.get("/jobs").json()["data"]) == 1


def test_too_many_files_and_endless_names(unchanged: TestClient, audited: dict[str, Any]) -> None:
    place = audited["links"]["corrections"]
    many = {"drop": [str(n) for n in range(200_001)]}
    found = problem(unchanged.post(place, json=many), 422, "invalid_request")
    assert found["errors"][0]["param"] == "drop"
    long = {"relabel": {f"{n}{'x' * 2000}": "cat" for n in range(300)}}
    response = unchanged.post(place, json=long)
    assert len(problem(response, 422, "invalid_request")["errors"]) == 100
    assert len(response.content) < 100_000


def test_only_a_job_with_an_audit_can_be_corrected(client: TestClient, live: Context) -> None:
    body = {"drop": ["cat/0.png"]}
    job = post_job(client)
    url = f"/jobs/{job['id']}/corrections"
    assert "corrections" not in job["links"]
    problem(client.post(url, json=body), 409, "job_not_finished")
    client.post(job["links"]["cancel"])
    problem(client.post(url, json=body), 409, "no_audit")
    problem(client.post("/jobs/job_1/corrections", json=body), 404, "job_not_found")
    for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
        response = client.post(
            finished(client, live)["links"]["corrections"],
            content=json.dumps(body),
            headers=headers,
        )
        found = problem(response, 400, "unknown_content_type")
        assert "Content-Type: application/json" in found["detail"]


def test_a_body_over_the_limit(client: TestClient, live: Context) -> None:
    old = finished(client, live)
    limit = live.settings.max_body_bytes

    def chunks() -> Any:
        for _ in range(limit // 2**20 + 1):
            yield b" " * 2**20

    headers = {"Content-Type": "application/json"}
    response = client.post(old["links"]["corrections"], content=chunks(), headers=headers)
    problem(response, 413, "payload_too_large")
