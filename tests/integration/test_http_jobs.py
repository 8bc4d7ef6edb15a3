"""The calls about jobs and models, on each database; nothing runs the jobs here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs.lease import Lease
from app.kit.context import Context
from tests.integration.conftest import post_job, zip_of
from tests.integration.test_jobs_db import ERROR, make_model

ZIP = zip_of({"cat/1.png": b"not looked at"})


def files_in(context: Context) -> set[str]:
    root = Path(context.storage.url.removeprefix("file://"))
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert set(body) == {"type", "title", "status", "detail", "code", "errors"}
    return body


@pytest.fixture
def live(client: TestClient) -> Context:
    """The context of the API that `client` talks to."""
    context: Context = client.app.state.context  # type: ignore[attr-defined]
    return context


def claim(context: Context, job_id: str) -> Lease:
    lease = Lease.claim(context, job_id, "worker")
    assert lease is not None
    return lease


def succeed(context: Context, job_id: str, audit: dict[str, Any]) -> str:
    lease = claim(context, job_id)
    lease.start_running({"sha256": "f" * 64, "images": 2, "classes": ["cat"], "rejected": []})
    model = make_model(job_id)
    context.storage.put_bytes(model.storage_key, b"tensors")
    context.storage.put_bytes("audits/a.json", json.dumps(audit).encode())
    lease.succeed(
        model, config={"epochs": 3}, metrics={"served": "tuned"}, audit_key="audits/a.json"
    )
    return model.id


AUDIT = {
    "can_tell": True,
    "why": "it can",
    "suspects": 1,
    "entries": [
        {
            "file": "=cmd|' /C calc'!A0/1.png",
            "given": "cat",
            "suggested": "@dog",
            "score": 0.75,
            "p_tuned": 0.25,
            "p_zero_shot": 0.5,
            "suppression": 0.125,
            "suspect": True,
        }
    ],
}


def test_a_new_job(client: TestClient) -> None:
    response = client.post(
        "/jobs",
        files={"dataset": ("../up/my pets.zip", ZIP)},
        data={"config": '{"epochs": 7}', "class_names": '{"cat": "tabby cat"}'},
    )
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert re.fullmatch(r"job_[0-9a-z]{26}", job["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", job["created_at"])
    assert (job["object"], job["status"], job["name"]) == ("job", "queued", "my pets")
    assert job["config"]["epochs"] == 7
    assert job["config"]["loss"] == "dspt"
    assert job["class_names"] == {"cat": "tabby cat"}
    assert job["progress"]["message"] == (
        "waiting: no worker is running; start one with `dspt worker`"
    )
    assert job["dataset"]["filename"] == "my pets.zip"
    assert job["error"] is job["model_id"] is job["metrics"] is None
    assert client.get(job["links"]["self"]).json() == job


def test_the_same_zip_is_stored_once(client: TestClient, live: Context) -> None:
    first, second = post_job(client), post_job(client, name="again")
    assert first["dataset"] == second["dataset"]
    third = client.post("/jobs", data={"dataset_id": first["dataset"]["id"]}).json()
    assert third["dataset"] == first["dataset"]
    assert files_in(live) == {f"datasets/{first['dataset']['id']}.zip"}


def test_an_idempotency_key_makes_one_job(client: TestClient) -> None:
    def post(epochs: int, key: str) -> Any:
        return client.post(
            "/jobs",
            files={"dataset": ("a.zip", ZIP)},
            data={"config": json.dumps({"epochs": epochs})},
            headers={"Idempotency-Key": key},
        )

    first, again, other_key = post(3, "k1"), post(3, "k1"), post(3, "k2")
    assert again.json()["id"] == first.json()["id"] != other_key.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    body = problem(post(4, "k1"), 409, "idempotency_key_reused")
    assert first.json()["id"] in body["detail"]
    assert len(client.get("/jobs").json()["data"]) == 2


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "empty"), (b"junk", "not a zip"), (ZIP[:-8], "cut off")]
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
        ({"config": "["}, "invalid_json", ["config"]),
        ({"config": "[" * 100_000}, "invalid_json", ["config"]),
        ({"config": "[1]"}, "invalid_json", ["config"]),
        ({"class_names": '{"cat": 3}'}, "invalid_class_names", ["class_names"]),
        ({"class_names": '{"cat": " "}'}, "invalid_class_names", ["class_names"]),
        ({"name": "x" * 201}, "invalid_request", ["name"]),
        ({"name": "a\x00b"}, "invalid_name", ["name"]),
        ({"classnames": "{}"}, "unknown_field", ["classnames"]),
    ],
)
def test_a_wrong_field_is_named(
    client: TestClient, fields: dict[str, str], code: str, params: list[str]
) -> None:
    response = client.post("/jobs", files={"dataset": ("a.zip", ZIP)}, data=fields)
    body = problem(response, 422, code)
    assert sorted(item["param"] for item in body["errors"]) == params
    assert client.get("/jobs").json()["data"] == []


def test_neither_or_both_data_sets(client: TestClient) -> None:
    problem(client.post("/jobs", data={"name": "a"}), 422, "invalid_request")
    response = client.post("/jobs", files={"dataset": ("a.zip", ZIP)}, data={"dataset_id": "ds_1"})
    problem(response, 422, "invalid_request")
    problem(client.post("/jobs", data={"dataset_id": "ds_1"}), 404, "dataset_not_found")


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
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    problem(client.request(method, path), status, code)


def test_pages_of_jobs(client: TestClient, live: Context) -> None:
    ids = [post_job(client, name=str(n))["id"] for n in range(5)][::-1]
    seen: list[str] = []
    url = "/jobs?limit=2"
    sizes = []
    while True:
        page = client.get(url).json()
        sizes.append(len(page["data"]))
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            assert page["next"] is None
            break
        url = f"/jobs?limit=2&after={page['next']}"
    assert sizes == [2, 2, 1]
    assert seen == sorted(ids, reverse=True)
    claim(live, ids[2])
    waiting = client.get("/jobs?status=validating").json()["data"]
    assert [job["id"] for job in waiting] == [ids[2]]


def test_cancel_a_queued_job(client: TestClient) -> None:
    job = post_job(client)
    response = client.post(job["links"]["cancel"])
    assert response.status_code == 202
    assert response.json()["status"] == "cancelled"
    assert response.json()["finished_at"] is not None
    problem(client.post(job["links"]["cancel"]), 409, "job_finished")


def test_cancel_a_running_job(client: TestClient, live: Context) -> None:
    job = post_job(client)
    lease = claim(live, job["id"])
    for _ in range(2):  # asking twice is no error
        response = client.post(job["links"]["cancel"])
        assert (response.status_code, response.json()["status"]) == (202, "cancelling")
    problem(client.delete(job["links"]["self"]), 409, "job_not_finished")
    lease.cancelled()
    assert client.get(job["links"]["self"]).json()["status"] == "cancelled"


def test_delete_removes_what_nobody_else_needs(client: TestClient, live: Context) -> None:
    first, second = post_job(client), post_job(client, name="same zip")
    problem(client.delete(first["links"]["self"]), 409, "job_not_finished")
    model_id = succeed(live, first["id"], AUDIT)
    zip_key = f"datasets/{first['dataset']['id']}.zip"
    model_key = f"models/{model_id}.safetensors"
    assert files_in(live) == {zip_key, model_key, "audits/a.json"}

    assert client.delete(first["links"]["self"]).status_code == 204
    assert files_in(live) == {zip_key, model_key}
    problem(client.get(first["links"]["self"]), 404, "job_not_found")
    assert client.get(f"/models/{model_id}").json()["job_id"] is None

    client.post(second["links"]["cancel"])
    assert client.delete(second["links"]["self"]).status_code == 204
    assert files_in(live) == {model_key}

    assert client.delete(f"/models/{model_id}").status_code == 204
    assert files_in(live) == set()


def test_a_succeeded_job_and_its_model(client: TestClient, live: Context) -> None:
    job = post_job(client)
    model_id = succeed(live, job["id"], AUDIT)
    job = client.get(job["links"]["self"]).json()
    assert (job["status"], job["model_id"]) == ("succeeded", model_id)
    assert job["progress"]["fraction"] == 1.0
    assert job["dataset"]["content_sha256"] == "f" * 64
    assert job["dataset"]["images"] == 2
    model = client.get(job["links"]["model"]).json()
    assert (model["object"], model["served"]) == ("model", "tuned")
    assert model["classes"] == ["cat", "dog"]
    artifact = client.get(job["links"]["artifact"])
    assert artifact.content == b"tensors"
    assert f'filename="{model_id}.safetensors"' in artifact.headers["content-disposition"]
    assert [m["id"] for m in client.get("/models").json()["data"]] == [model_id]


def test_a_failed_job_says_why(client: TestClient, live: Context) -> None:
    job = post_job(client)
    error = ERROR | {"problems": [{"where": "cat", "code": "c", "message": "m"}]}
    claim(live, job["id"]).fail(error)
    job = client.get(job["links"]["self"]).json()
    assert (job["status"], job["error"]) == ("failed", error)
    problem(client.get(f"/jobs/{job['id']}/audit"), 409, "no_audit")


def test_the_audit(client: TestClient, live: Context) -> None:
    job = post_job(client)
    problem(client.get(f"/jobs/{job['id']}/audit"), 409, "job_not_finished")
    succeed(live, job["id"], AUDIT)
    audit = client.get(f"/jobs/{job['id']}/audit")
    assert audit.json() == AUDIT | {"object": "audit", "job_id": job["id"]}
    table = client.get(f"/jobs/{job['id']}/audit?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines() == [
        "file,given,suggested,score,p_tuned,p_zero_shot,suppression,suspect",
        "'=cmd|' /C calc'!A0/1.png,cat,'@dog,0.75,0.25,0.5,0.125,true",
    ]


def test_events_as_a_list(client: TestClient, live: Context) -> None:
    job = post_job(client)
    claim(live, job["id"]).fail(ERROR)
    url = job["links"]["events"]
    page = client.get(url, params={"limit": 2}).json()
    assert [(e["id"], e["type"], e["data"]["status"]) for e in page["data"]] == [
        (1, "status", "queued"),
        (2, "status", "validating"),
    ]
    assert (page["has_more"], page["next"]) == (True, 2)
    page = client.get(url, params={"after": 2}).json()
    assert [e["data"] for e in page["data"]] == [{"status": "failed", "attempt": 1, "error": ERROR}]
    assert (page["has_more"], page["next"]) == (False, None)


def test_events_as_a_stream_that_ends_with_the_job(client: TestClient, live: Context) -> None:
    job = post_job(client)
    lease = claim(live, job["id"])
    headers = {"Accept": "text/event-stream"}
    seen: list[str] = []
    with client.stream("GET", job["links"]["events"], headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("id: "):
                seen.append(line)
            if line == "id: 2":  # while somebody listens, the job goes on
                lease.report([("metrics", {"loss": 0.5})], progress=None, warnings=[])
                lease.fail(ERROR)
    assert seen == ["id: 1", "id: 2", "id: 3", "id: 4"]


def test_a_stream_goes_on_where_it_broke_off(client: TestClient, live: Context) -> None:
    job = post_job(client)
    claim(live, job["id"]).fail(ERROR)
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "2"}
    lines = client.get(job["links"]["events"], headers=headers).text.splitlines()
    assert [line for line in lines if line.startswith(("id", "event"))] == [
        "id: 3",
        "event: status",
    ]
    headers["Last-Event-ID"] = "two"
    problem(client.get(job["links"]["events"], headers=headers), 400, "bad_event_id")


def test_request_ids(client: TestClient) -> None:
    assert client.get("/jobs", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = client.get("/nothing", headers={"X-Request-ID": "a b\x7f"}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{16}", made)


def test_every_operation_declares_its_errors_as_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
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
