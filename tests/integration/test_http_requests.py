"""Requests that are refused, and in what form."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.kit.context import Context
from tests.integration.conftest import post_job, zip_of
from tests.integration.databases import sqlite_first
from tests.integration.jobs import files_in, problem

pytestmark = sqlite_first


ZIP = zip_of({"cat/1.png": b"not looked at"})


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"junk", "not a zip"),
        (ZIP[:-8], "truncated"),
        (ZIP[:-22] + b"PK\6\7" + bytes(12) + b"\3\0\0\0" + ZIP[-22:], "not a zip"),  # of 3 disks
    ],
)
def test_what_is_no_zip_is_refused_and_not_kept(
    client: TestClient, live: Context, content: bytes, word: str
) -> None:
    body = problem(client.post("/jobs", files={"dataset": ("a.zip", content)}), 422, "not_a_zip")
    assert word in body["detail"]
    assert body["errors"][0]["param"] == "dataset"
    assert files_in(live) == set()
    assert client.get("/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("fields", "code", "params"),
    [
        ({"config": '{"epochz": 1, "lr": 99}'}, "invalid_config", ["epochz", "lr"]),
        ({"config": '{"epochs": "many"}'}, "invalid_config", ["epochs"]),
        ({"config": '{"lr": NaN}'}, "invalid_config", ["lr"]),
        ({"config": '{"ctx_init": "a\\u0000b"}'}, "invalid_config", ["'ctx_init'"]),
        ({"config": json.dumps({str(i): 1 for i in range(101)})}, "invalid_config", ["config"]),
        ({"config": json.dumps({"x" * 101: 1})}, "invalid_config", ["config"]),
        ({"config": "["}, "invalid_json", ["config"]),
        ({"config": "[" * 100_000}, "invalid_json", ["config"]),
        ({"config": "[1]"}, "invalid_json", ["config"]),
        ({"class_names": '{"cat": 3}'}, "invalid_class_names", ["class_names"]),
        ({"class_names": '{"cat": " "}'}, "invalid_class_names", ["class_names"]),
        *(
            ({"class_names": text}, code, ["class_names"])
            for text, code in (
                ('{"cat": "a", "cat": "b"}', "invalid_json"),
                ('{"cat": "a", "c\\u0061t": "b"}', "invalid_json"),
                ('{"cat": ' * 100_000, "invalid_json"),
                ('{"cat": ' + "9" * 5000 + "}", "invalid_json"),
                ('{"cat": 1e999}', "invalid_class_names"),
                ('{"cat": ["a"]}', "invalid_class_names"),
                ('{"cat": {"a": "b"}}', "invalid_class_names"),
                (json.dumps({"cat": "x" * 201}), "invalid_class_names"),
                (json.dumps({"x" * 201: "x"}), "invalid_class_names"),
                (json.dumps({"x" * 500_000: 1}), "invalid_class_names"),
                (json.dumps({"cat": "a\nb"}), "invalid_class_names"),
                (json.dumps({"cat": "a\ud800"}), "invalid_class_names"),
                (json.dumps({"cat": "\u202etac"}), "invalid_class_names"),
                (json.dumps({"c\u200bat": "cat"}), "invalid_class_names"),
                (json.dumps({"cat": "\u3164"}), "invalid_class_names"),
                (json.dumps({str(i): "x" for i in range(25_001)}), "invalid_class_names"),
                (json.dumps({str(i): 1 for i in range(25_001)}), "invalid_class_names"),
            )
        ),
        ({"name": "x" * 201}, "invalid_request", ["name"]),
        ({"name": "a\x00b"}, "invalid_name", ["name"]),
        ({"classnames": "{}"}, "unknown_field", ["classnames"]),
    ],
)
def test_a_wrong_field_is_named(
    unchanged: TestClient, fields: dict[str, str], code: str, params: list[str]
) -> None:
    response = unchanged.post("/jobs", files={"dataset": ("a.zip", ZIP)}, data=fields)
    body = problem(response, 422, code)
    assert sorted(item["param"] for item in body["errors"]) == params
    assert len(body["detail"]) < 5000
    assert unchanged.get("/jobs").json()["data"] == []


def test_neither_or_both_data_sets(unchanged: TestClient) -> None:
    problem(unchanged.post("/jobs", data={"name": "a"}), 422, "invalid_request")
    response = unchanged.post(
        "/jobs", files={"dataset": ("a.zip", ZIP)}, data={"dataset_id": "ds_1"}
    )
    problem(response, 422, "invalid_request")
    problem(unchanged.post("/jobs", data={"dataset_id": "ds_1"}), 404, "dataset_not_found")


def test_a_body_over_the_limit(client: TestClient, live: Context) -> None:
    def chunks() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="dataset"; filename="a.zip"\r\n\r\n'
        for _ in range(20):
            yield b"x" * 100_000

    declared = client.post("/jobs", files={"dataset": ("a.zip", b"x" * 1_000_001)})
    problem(declared, 413, "payload_too_large")
    undeclared = client.post(
        "/jobs", content=chunks(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    problem(undeclared, 413, "payload_too_large")
    assert files_in(live) == set()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("PUT", "/jobs", 405, "method_not_allowed"),
        ("GET", "/jobs/job_1", 404, "job_not_found"),
        ("GET", "/jobs/a%00b", 404, "job_not_found"),
        ("GET", "/jobs/job_1/events", 404, "job_not_found"),
        ("GET", "/jobs/job_1/audit", 404, "job_not_found"),
        ("POST", "/jobs/job_1/cancel", 404, "job_not_found"),
        ("DELETE", "/jobs/job_1", 404, "job_not_found"),
        ("GET", "/models/mdl_1", 404, "model_not_found"),
        ("GET", "/models/mdl_1/artifact", 404, "model_not_found"),
        ("DELETE", "/models/mdl_1", 404, "model_not_found"),
        ("GET", "/jobs?limit=0", 422, "invalid_request"),
        ("GET", "/jobs?after=x", 422, "invalid_request"),
        ("GET", "/jobs?status=asleep", 422, "invalid_request"),
        ("GET", "/jobs/job_1/events?after=-1", 422, "invalid_request"),
    ],
)
def test_errors_are_problem_documents(
    unchanged: TestClient, method: str, path: str, status: int, code: str
) -> None:
    problem(unchanged.request(method, path), status, code)


def test_what_may_be_left_out_is_named_as_in_the_request(unchanged: TestClient) -> None:
    (item,) = problem(unchanged.get("/jobs?status=asleep"), 422, "invalid_request")["errors"]
    assert item["param"] == "status"
    assert item["message"].startswith("Input should be 'queued', ")


def test_a_refused_method_is_answered_with_all_that_are_taken(unchanged: TestClient) -> None:
    assert unchanged.put("/jobs").headers["allow"] == "GET, POST"
    assert unchanged.post("/jobs/job_1").headers["allow"] == "GET, PATCH, DELETE"


def test_an_empty_after_is_the_first_page(client: TestClient) -> None:
    """`next` of the last page is null; some clients send that on."""
    job = post_job(client)
    for url in ("/jobs?after=", "/jobs"):
        assert [found["id"] for found in client.get(url).json()["data"]] == [job["id"]]
    problem(client.get("/jobs?after=x"), 422, "invalid_request")


def test_request_ids(unchanged: TestClient) -> None:
    assert (
        unchanged.get("/jobs", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    )
    made = unchanged.get("/nothing", headers={"X-Request-ID": "a b\x7f"}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{16}", made)


def test_every_operation_declares_its_errors_as_problems(unchanged: TestClient) -> None:
    document = unchanged.get("/openapi.json").json()
    assert {"Problem", "ProblemItem"} <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert {"/jobs", "/models", "/predict", "/backbones"} <= set(document["paths"])
    for path, operations in document["paths"].items():
        if path.startswith("/health/"):
            continue
        for operation in operations.values():
            errors = {s: r for s, r in operation["responses"].items() if int(s) >= 400}
            assert {"422", "500", "503"} <= set(errors)
            for response in errors.values():
                assert list(response["content"]) == ["application/problem+json"]
