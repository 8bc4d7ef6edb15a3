"""The calls about jobs and models; nothing runs the jobs here."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

from dspt_client.schemas.jobs import AuditEntryView
from fastapi.testclient import TestClient

from app.kit.context import Context
from tests.integration.conftest import post_job, zip_of
from tests.integration.databases import on_both, sqlite_first
from tests.integration.jobs import ERROR, claim, files_in, make_model, problem

pytestmark = sqlite_first


ZIP = zip_of({"cat/1.png": b"not looked at"})


def succeed(context: Context, job_id: str, audit: dict[str, Any]) -> str:
    lease = claim(context, job_id)
    lease.start_running({"sha256": "f" * 64, "images": 2, "classes": ["cat"], "rejected": []})
    model = make_model(job_id)
    model.metrics = METRICS
    context.storage.put_bytes(model.storage_key, b"tensors")
    context.storage.put_bytes("audits/a.json", json.dumps(audit).encode())
    lease.succeed(model, config={"epochs": 3}, metrics=METRICS, audit_key="audits/a.json")
    return model.id


METRICS = {
    "served": "tuned",
    "tuned": {
        "accuracy": 0.5,
        "per_class": {"cat": 0.5},
        "per_class_interval": {"cat": [0.1, 0.9]},
        "confusion": [[1, 1], [0, 0]],
    },
    "copies": {"copies": 1, "in_class": [["cat/a.png", "cat/b.png"]]},
    "history": [{"epoch": 1}],
}
AUDIT: dict[str, Any] = {
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
        "waiting: no worker is running. Start one with `dspt worker`."
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


@on_both
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


def test_lists_carry_summaries(client: TestClient, live: Context) -> None:
    failed = post_job(client, class_names='{"cat": "tabby cat"}')
    problems = [{"where": "cat", "code": "c", "message": "m"}]
    claim(live, failed["id"]).fail(ERROR | {"problems": problems})
    model_id = succeed(live, post_job(client)["id"], AUDIT)
    small = {"served": "tuned", "tuned": {"accuracy": 0.5}, "copies": {"copies": 1}}

    succeeded, failed = client.get("/jobs").json()["data"]
    assert succeeded["summary"]
    assert succeeded["metrics"] == small
    assert (succeeded["dataset"]["classes"], succeeded["dataset"]["rejected"]) == (None, None)
    assert succeeded["dataset"]["images"] == 2
    assert succeeded["dataset"]["content_sha256"] == "f" * 64
    assert failed["error"] == ERROR
    assert failed["class_names"] is None
    whole = client.get(succeeded["links"]["self"]).json()
    assert not whole["summary"]
    assert (whole["metrics"], whole["dataset"]["classes"]) == (METRICS, ["cat"])
    whole = client.get(failed["links"]["self"]).json()
    assert (whole["error"]["problems"], whole["class_names"]) == (problems, {"cat": "tabby cat"})

    (model,) = client.get("/models").json()["data"]
    assert model["metrics"] == small
    whole = client.get(f"/models/{model_id}").json()
    assert (model.pop("drift"), whole.pop("drift")["captured"]) == (None, 0)
    assert whole == model | {"metrics": METRICS}


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


def test_delete_removes_files_without_other_references(client: TestClient, live: Context) -> None:
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


def test_a_long_audit_page_by_page(client: TestClient, live: Context) -> None:
    entry = AuditEntryView.model_validate(AUDIT["entries"][0]).model_dump()
    names = [f'{n}/], [{{"entries": [ \\"é, ' for n in range(3000)]
    entries = [entry | {"file": name, "suspect": n < 1700} for n, name in enumerate(names)]
    job = post_job(client)
    steps = [{"first": 10, "wrong": 9.5}]
    audit = {"expected_wrong": steps, **AUDIT, "suspects": 1700, "entries": entries}
    succeed(live, job["id"], audit)
    url = f"/jobs/{job['id']}/audit"

    def pages(query: str) -> list[dict[str, Any]]:
        found, after = [], ""
        while True:
            page = client.get(f"{url}?{query}&after={after}").json()
            assert (page["can_tell"], page["suspects"]) == (True, 1700)
            assert page["expected_wrong"] == steps
            found.append(page)
            assert page["has_more"] == (page["next"] is not None)
            if page["next"] is None:
                return found
            after = page["next"]

    for query, expected, sizes in (
        ("limit=1000", entries, [1000, 1000, 1000]),
        ("limit=1600", entries, [1600, 1400]),
        ("limit=1600&suspect=true", entries[:1700], [1600, 100]),
        ("limit=5000&suspect=true", entries[:1700], [1700]),
        ("limit=1300&suspect=false", entries[1700:], [1300]),
    ):
        found = pages(query)
        assert [len(page["entries"]) for page in found] == sizes
        assert [entry for page in found for entry in page["entries"]] == expected
    whole = client.get(url)
    assert whole.headers["content-type"] == "application/json"
    assert (whole.json()["entries"], whole.json()["expected_wrong"]) == (entries, steps)
    suspects = client.get(f"{url}?suspect=true").json()
    assert (suspects["entries"], suspects["has_more"]) == (entries[:1700], False)
    table = client.get(f"{url}?format=csv&suspect=false").content.decode()
    assert table.startswith("\ufefffile,")
    assert [row["file"] for row in csv.DictReader(io.StringIO(table[1:]))] == names[1700:]
    for wrong in ("1", "100000", "999999999"):
        problem(client.get(f"{url}?after={wrong}"), 422, "invalid_request")


def test_an_audit_without_entries(client: TestClient, live: Context) -> None:
    job = post_job(client)
    succeed(live, job["id"], AUDIT | {"suspects": 0, "entries": []})
    for query in ("", "?limit=10", "?suspect=true"):
        assert client.get(f"/jobs/{job['id']}/audit{query}").json()["entries"] == []
    table = client.get(f"/jobs/{job['id']}/audit?format=csv").text
    assert table == "file,given,suggested,correct_label\r\n"


def test_the_audit(client: TestClient, live: Context) -> None:
    job = post_job(client)
    problem(client.get(f"/jobs/{job['id']}/audit"), 409, "job_not_finished")
    succeed(live, job["id"], AUDIT)
    audit = client.get(f"/jobs/{job['id']}/audit")
    # an audit of an earlier version has no noise rate, and its entries have fewer members
    entries = [
        AuditEntryView.model_validate(entry).model_dump(exclude={"image"})
        for entry in AUDIT["entries"]
    ]
    expected = AUDIT | {"object": "audit", "job_id": job["id"], "noise_rate": None}
    expected |= {"expected_wrong": []}
    expected |= {"entries": entries, "has_more": False, "next": None}
    assert audit.json() == expected
    table = client.get(f"/jobs/{job['id']}/audit?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    head, line = table.text.splitlines()
    assert head.startswith("file,given,suggested,correct_label,score,p_tuned,p_zero_shot,suppress")
    assert head.split(",")[4:] == list(AuditEntryView.model_fields)[3:-1]
    assert line == "'=cmd|' /C calc'!A0/1.png,cat,'@dog,,0.75,0.25,0.5,0.125,true,false,,false"


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
            if line == "id: 2":  # the job continues while a client listens
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
