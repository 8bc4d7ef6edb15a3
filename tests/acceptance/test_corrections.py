"""From the audit of a job, through corrected labels, to a new classifier."""

from __future__ import annotations

import csv
import io

import httpx

from tests.acceptance.photos import COLOURS, photos, zipped
from tests.acceptance.service import (
    ENDED,
    QUICK,
    Json,
    get_job,
    post_job,
    problem_of,
    run_job,
    stream,
    until,
)

WRONG = "train/lime/of an apple.png"


def zip_with_a_wrong_label() -> bytes:
    train = photos(*COLOURS, count=6, folder="train/")
    train[WRONG] = train.pop("train/apple/0.png")
    return zipped(train | photos(*COLOURS, count=3, folder="test/", first_seed=100))


def test_the_audits_table_filled_in_makes_a_new_job(service: httpx.Client) -> None:
    old = run_job(service, zip_with_a_wrong_label())
    assert old["status"] == "succeeded", old["error"]
    answer = service.get(old["links"]["audit"], params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    wanted = {WRONG: "apple", "train/banana/3.png": "drop", "train/lime/1.png": "keep"}
    for row in rows:
        row["correct_label"] = wanted.get(row["file"], "")
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)

    response = service.post(
        old["links"]["corrections"],
        content=table.getvalue(),
        headers={"Content-Type": "text/csv"},
    )
    assert response.status_code == 202, response.text
    new_id = response.json()["id"]
    assert response.headers["location"] == f"/jobs/{new_id}"
    *_, last = stream(service, new_id)
    assert last["data"]["data"]["status"] == "succeeded"

    new = get_job(service, new_id)
    assert new["dataset"]["corrections"] == {
        "relabelled": 1,
        "dropped": 1,
        "kept": 1,
        "from_job": old["id"],
    }
    assert new["dataset"]["images"] == old["dataset"]["images"] - 1
    assert new["dataset"]["sha256"] == old["dataset"]["sha256"]
    assert new["dataset"]["content_sha256"] != old["dataset"]["content_sha256"]
    assert new["config"] == old["config"]
    assert new["links"]["corrected_from"] == old["links"]["self"]
    entries = service.get(new["links"]["audit"]).json()["entries"]
    given = {entry["file"]: entry["given"] for entry in entries}
    kept = {entry["file"]: entry["suspect"] for entry in entries if entry["kept"]}
    assert kept == {WRONG: False, "train/lime/1.png": False}
    assert given[WRONG] == "apple"
    assert "train/banana/3.png" not in given
    assert get_job(service, old["id"]) == old


def test_corrections_as_json_add_up_and_the_parent_may_go(service: httpx.Client) -> None:
    first = run_job(service, zip_with_a_wrong_label())
    url = first["links"]["corrections"]
    body = {"relabel": {WRONG: "apple"}, "name": "first pass", "config": {"seed": 5}}
    headers = {"Idempotency-Key": "corrections of a test"}
    second, again = (service.post(url, json=body, headers=headers) for _ in range(2))
    assert second.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    second = until(service, second.json()["id"], *ENDED)
    assert second["status"] == "succeeded", second["error"]
    assert second["name"] == "first pass"
    assert (second["config"]["seed"], second["config"]["epochs"]) == (5, QUICK["epochs"])

    third = service.post(second["links"]["corrections"], json={"drop": ["train/lime/1.png"]}).json()
    for job in (first, second):
        assert service.delete(job["links"]["self"]).status_code == 204
    third = until(service, third["id"], *ENDED)
    assert third["status"] == "succeeded", third["error"]
    assert third["dataset"]["corrections"] == {
        "relabelled": 1,
        "dropped": 1,
        "kept": 0,
        "from_job": None,
    }
    # As any data set, the corrected one can be tuned on again.
    fields = {"dataset_id": third["dataset"]["id"], "config": '{"epochs": 1}'}
    fourth = until(service, service.post("/jobs", data=fields).json()["id"], *ENDED)
    assert fourth["dataset"]["content_sha256"] == third["dataset"]["content_sha256"]


def test_all_mistakes_in_corrections_are_named_at_once(service: httpx.Client, tuned: Json) -> None:
    url = tuned["links"]["corrections"]
    body = {
        "relabel": {"train/lime/0.png": "lemon", "test/lime/100.png": "apple"},
        "drop": ["/etc/passwd", *(f"train/apple/{i}.png" for i in range(6))],
    }
    problem = problem_of(service.post(url, json=body), 422, "unknown_file")
    assert [(e["param"], e["code"]) for e in problem["errors"]] == [
        ("test/lime/100.png", "unknown_file"),
        ("/etc/passwd", "unknown_file"),
        ("train/lime/0.png", "unknown_class"),
        ("apple", "empty_class"),
    ]
    problem_of(service.post(url, json={}), 422, "nothing_changed")
    problem_of(service.post(url, json={"relabell": {}}), 422, "invalid_request")
    problem_of(service.post(url, data={"drop": "a"}), 400, "unknown_content_type")
    problem_of(service.post("/jobs/job_0/corrections", json={}), 404, "job_not_found")


def test_a_job_without_an_audit_cannot_be_corrected(service: httpx.Client) -> None:
    job = post_job(service, zipped(photos("apple", "lime", count=3)), {"epochs": 1000}).json()
    service.post(job["links"]["cancel"])
    job = until(service, job["id"], "cancelled")
    assert "corrections" not in job["links"]
    body = {"drop": ["apple/0.png"]}
    problem_of(service.post(f"/jobs/{job['id']}/corrections", json=body), 409, "no_audit")
