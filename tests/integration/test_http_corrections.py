"""Corrections of a finished job over HTTP, on each database; nothing runs the jobs here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.access.caller import LOCAL
from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.jobs import service
from app.kit.context import Context
from dspt.labels.corrections import Corrections
from tests.integration.conftest import context_of, post_job
from tests.integration.jobs import claim, files_in, make_model, problem, read_job, statuses

GIVEN = {f"{name}/{i}.png": name for name in ("cat", "dog") for i in range(4)}


def finish(context: Context, job_id: str, given: Mapping[str, str] = GIVEN) -> None:
    """Let the job succeed with an audit of these files."""
    lease = claim(context, job_id)
    classes = sorted(set(given.values()))
    lease.start_running({"sha256": "f" * 64, "images": len(given), "classes": classes})
    model = make_model(job_id)
    entry = {"score": 0.5, "p_tuned": 0.5, "p_zero_shot": 0.5, "suppression": 0.5, "suspect": True}
    entries = [
        {"file": file, "given": name, "suggested": "dog" if name == "cat" else "cat"} | entry
        for file, name in given.items()
    ]
    audit = {"can_tell": True, "why": "", "suspects": len(entries), "entries": entries}
    audit_key = f"audits/{model.id}.json"
    context.storage.put_bytes(audit_key, json.dumps(audit).encode())
    resolved = read_job(context, job_id).config | {"lr": 0.05, "n_ctx": 4, "device": "cuda"}
    lease.succeed(model, config=resolved, metrics={}, audit_key=audit_key)


def finished(client: TestClient, live: Context, **fields: Any) -> dict[str, Any]:
    job_id = post_job(client, **fields)["id"]
    finish(live, job_id)
    job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
    return job


def correct(client: TestClient, job: Mapping[str, Any], **body: Any) -> dict[str, Any]:
    response = client.post(f"/jobs/{job['id']}/corrections", json=body)
    assert response.status_code == 202, response.text
    new: dict[str, Any] = response.json()
    return new


def corrections_of(context: Context, job: Mapping[str, Any]) -> Corrections:
    """What a worker is to correct."""
    with context.database.read() as session:
        dataset = datasets.get(session, job["dataset"]["id"])
    assert dataset is not None
    return dataset_service.corrections_of(context, dataset)


def test_a_new_job_on_the_corrected_set(client: TestClient, live: Context) -> None:
    fields = {"config": '{"epochs": 7, "loss": "ce"}', "class_names": '{"cat": "tabby cat"}'}
    old = finished(client, live, name="pets", **fields)
    assert old["links"]["corrections"] == f"/jobs/{old['id']}/corrections"
    response = client.post(
        old["links"]["corrections"],
        json={
            "relabel": {"cat/0.png": "dog", "cat/1.png": "cat"},
            "drop": ["dog/3.png", "dog/3.png"],
        },
    )
    assert response.status_code == 202
    new = response.json()
    assert response.headers["location"] == new["links"]["self"] == f"/jobs/{new['id']}"
    assert new["id"] != old["id"]
    assert (new["status"], new["name"]) == ("queued", "pets (corrected)")
    assert new["class_names"] == {"cat": "tabby cat"}
    # As it was asked for, not as it was filled in: another worker may have no such device.
    assert (new["config"]["epochs"], new["config"]["loss"]) == (7, "ce")
    assert new["config"]["lr"] is new["config"]["n_ctx"] is None
    assert new["config"]["device"] == "auto"
    # A label that was only confirmed does not count as relabelled.
    assert new["dataset"]["corrections"] == {
        "relabelled": 1,
        "dropped": 1,
        "kept": 1,
        "from_job": old["id"],
    }
    assert new["links"]["corrected_from"] == old["links"]["self"]
    assert new["dataset"]["id"] != old["dataset"]["id"]
    for part in ("sha256", "filename"):
        assert new["dataset"][part] == old["dataset"][part]
    assert client.get(new["links"]["self"]).json() == new
    assert statuses(live, new["id"]) == ["queued"]
    expected = Corrections.of({"cat/0.png": "dog"}, ["dog/3.png"], ["cat/1.png"])
    assert corrections_of(live, new) == expected

    assert client.get(old["links"]["self"]).json() == old
    assert old["dataset"]["corrections"] is None
    assert "corrected_from" not in old["links"]
    with live.database.read() as session:
        row = datasets.get(session, new["dataset"]["id"])
        assert row is not None
        assert datasets.zip_of(session, row).id == old["dataset"]["id"]


def test_settings_and_name_can_be_changed(client: TestClient, live: Context) -> None:
    old = finished(client, live, config='{"epochs": 7, "seed": 3}')
    new = correct(client, old, drop=["cat/0.png"], name=" cleaner ", config={"epochs": 9})
    assert new["name"] == "cleaner"
    assert (new["config"]["epochs"], new["config"]["seed"]) == (9, 3)


def test_corrections_add_up_and_outlive_what_they_were_made_from(
    client: TestClient, live: Context
) -> None:
    first = finished(client, live)
    second = correct(client, first, relabel={"cat/0.png": "dog", "cat/1.png": "dog"})
    finish(live, second["id"], GIVEN | {"cat/0.png": "dog", "cat/1.png": "dog"})
    third = correct(client, second, relabel={"cat/0.png": "cat"}, drop=["dog/0.png"])
    assert third["name"] == "pets (corrected)"
    assert third["dataset"]["corrections"] == {
        "relabelled": 2,
        "dropped": 1,
        "kept": 0,
        "from_job": second["id"],
    }
    both = Corrections.of({"cat/0.png": "cat", "cat/1.png": "dog"}, ["dog/0.png"])
    assert corrections_of(live, third) == both

    zip_key = f"datasets/{first['dataset']['id']}.zip"
    second_key, third_key = (f"datasets/{job['dataset']['id']}.json" for job in (second, third))
    assert {zip_key, second_key, third_key} <= files_in(live)
    for job in (first, second):
        assert client.delete(job["links"]["self"]).status_code == 204
    stored = files_in(live)
    assert {zip_key, third_key} <= stored
    assert second_key not in stored
    third = client.get(third["links"]["self"]).json()
    assert third["dataset"]["corrections"]["from_job"] is None
    assert "corrected_from" not in third["links"]
    assert third["dataset"]["sha256"] == first["dataset"]["sha256"]
    assert corrections_of(live, third) == both

    client.post(third["links"]["cancel"])
    assert client.delete(third["links"]["self"]).status_code == 204
    assert not any(key.startswith("datasets/") for key in files_in(live))


def test_the_same_corrections_are_stored_once_and_used_by_id(
    client: TestClient, live: Context
) -> None:
    old = finished(client, live)
    first, second = (correct(client, old, drop=["cat/0.png", "dog/0.png"]) for _ in range(2))
    assert first["id"] != second["id"]
    assert first["dataset"]["id"] == second["dataset"]["id"]
    fields = {"dataset_id": first["dataset"]["id"], "config": '{"epochs": 2}'}
    third = client.post("/jobs", data=fields).json()
    assert third["dataset"] == first["dataset"] | {
        "corrections": {"relabelled": 0, "dropped": 2, "kept": 0, "from_job": None}
    }


def test_an_idempotency_key_makes_one_job(client: TestClient, live: Context) -> None:
    old, other = finished(client, live), finished(client, live)

    def post(job: Mapping[str, Any], *drop: str) -> Any:
        return client.post(
            job["links"]["corrections"],
            json={"drop": list(drop)},
            headers={"Idempotency-Key": "k"},
        )

    first, again = post(old, "cat/0.png"), post(old, "cat/0.png")
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    problem(post(old, "cat/1.png"), 409, "idempotency_key_reused")
    problem(post(other, "cat/0.png"), 409, "idempotency_key_reused")
    assert len(client.get("/jobs").json()["data"]) == 3


def test_the_edited_csv_can_be_sent_as_it_is(client: TestClient, live: Context) -> None:
    given = GIVEN | {"cat/=1+1.png": "cat"}
    old = post_job(client)
    finish(live, old["id"], given)
    table = client.get(f"/jobs/{old['id']}/audit?format=csv").text
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    wanted = {"cat/0.png": "dog", "cat/=1+1.png": "drop"}
    for row in rows:
        row["correct_label"] = wanted.get(row["file"], "")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)

    def post(content: str) -> Any:
        headers = {"Content-Type": "text/csv; charset=utf-8"}
        return client.post(f"/jobs/{old['id']}/corrections", content=content, headers=headers)

    new = post(text.getvalue())
    assert new.status_code == 202, new.text
    assert corrections_of(live, new.json()) == Corrections.of(
        {"cat/0.png": "dog"}, ["cat/=1+1.png"]
    )
    body = problem(post(table), 422, "nothing_changed")
    assert "the column correct_label is empty" in body["detail"]
    body = problem(post("file,correct_label\ncat/0.png,fox\n"), 422, "unknown_class")
    assert body["errors"][0]["param"] == "cat/0.png"


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


def test_confirmed_labels_and_new_classes_reach_the_next_corrections(
    client: TestClient, live: Context
) -> None:
    first = finished(client, live)
    second = correct(
        client,
        first,
        relabel={"cat/0.png": "cat", "cat/1.png": "lynx"},
        keep=["dog/1.png"],
        new_classes={"lynx": "wild cat"},
    )
    assert second["dataset"]["corrections"]["kept"] == 2
    finish(live, second["id"], GIVEN | {"cat/1.png": "lynx"})
    second = client.get(second["links"]["self"]).json()
    response = client.post(second["links"]["corrections"], json={"keep": ["dog/1.png"]})
    problem(response, 422, "nothing_changed")  # it was confirmed before

    table = "file,correct_label\ncat/2.png,new: fox\ncat/3.png,lynx\ndog/0.png,keep\n"
    headers = {"Content-Type": "text/csv"}
    third = client.post(second["links"]["corrections"], content=table, headers=headers)
    assert third.status_code == 202, third.text
    assert corrections_of(live, third.json()) == Corrections.of(
        {"cat/1.png": "lynx", "cat/2.png": "fox", "cat/3.png": "lynx"},
        keep=["cat/0.png", "dog/0.png", "dog/1.png"],
        new_classes={"lynx": "wild cat", "fox": None},
    )


def test_predictions_by_label_and_result(client: TestClient, live: Context) -> None:
    job = post_job(client)
    url = f"/jobs/{job['id']}/predictions"
    problem(client.get(url), 409, "job_not_finished")
    lease = claim(live, job["id"])
    lease.start_running({"sha256": "f" * 64, "images": 8, "classes": ["cat", "dog"]})
    model = make_model(job["id"])
    keys = {kind: f"{kind}s/{model.id}.json" for kind in ("audit", "prediction")}
    rows = [("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("dog", "cat"), ("cat", "dog")]
    entries = [
        {"file": f"{i}.png", "label": label, "predicted": predicted, "score": 0.5}
        for i, (label, predicted) in enumerate(rows)
    ]
    document = {"measured_on": "test", "labels": "clean", "served": "tuned", "images": 5}
    stored = json.dumps(document | {"entries": entries}).encode()
    live.storage.put_bytes(keys["prediction"], stored)
    change = {"images": 5, "left_out": 0, "difference": 0.1, "difference_interval": [0, 0.2]}
    change |= {"p_value": 0.5, "gained": ["1.png"], "lost": ["2.png"], "verdict": "Better."}
    side = {"accuracy": 0.4, "accuracy_interval": [0.1, 0.8]}
    change |= {"before": side, "after": side, "noise_rate_before": None, "noise_rate_after": None}
    lease.succeed(
        model,
        config={},
        metrics={},
        audit_key=keys["audit"],
        predictions_key=keys["prediction"],
        change=change,
    )
    shown = client.get(f"/jobs/{job['id']}").json()
    assert shown["change"] == change
    assert shown["links"]["predictions"] == url
    (listed,) = client.get("/jobs").json()["data"]
    assert listed["change"] == change | {"gained": [], "lost": []}

    def files(**wanted: Any) -> list[str]:
        found, after = [], ""
        while after is not None:
            page = client.get(url, params=wanted | {"limit": 2, "after": after}).json()
            assert document.items() <= page.items()
            found += [entry["file"] for entry in page["entries"]]
            after = page["next"]
        return found

    assert files() == [f"{i}.png" for i in range(5)]
    assert files(label="cat", predicted="dog") == ["1.png", "4.png"]
    assert files(right=True) == ["0.png", "2.png"]
    assert files(right=False, label="dog") == ["3.png"]
    assert files(label="fox") == []
    problem(client.get(url, params={"after": "1"}), 422, "invalid_request")
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert files_in(live).isdisjoint(keys.values())
    other = finished(client, live)  # as an earlier version left it
    problem(client.get(f"/jobs/{other['id']}/predictions"), 409, "no_predictions")


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


@pytest.mark.parametrize("moment", ["store", "_insert"])
def test_the_job_is_deleted_while_it_is_being_corrected(
    client: TestClient, live: Context, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before the corrected set is stored, and between that and the new job."""
    old = finished(client, live)
    place: Any = dataset_service if moment == "store" else service
    original = getattr(place, moment)

    def delayed(*arguments: Any) -> Any:
        monkeypatch.setattr(place, moment, original)
        service.delete(live, LOCAL, old["id"])
        return original(*arguments)

    monkeypatch.setattr(place, moment, delayed)
    response = client.post(old["links"]["corrections"], json={"drop": ["cat/0.png"]})
    assert response.status_code == 404, response.text
    assert client.get("/jobs").json()["data"] == []
    assert not any(key.endswith(".zip") for key in files_in(live))


def test_the_documentation_names_both_forms(unchanged: TestClient) -> None:
    operation = unchanged.get("/openapi.json").json()["paths"]["/jobs/{job_id}/corrections"]["post"]
    content = operation["requestBody"]["content"]
    assert set(content) == {"application/json", "text/csv"}
    properties = content["application/json"]["schema"]["properties"]
    assert set(properties) == {
        "relabel", "drop", "keep", "new_classes", "review", "name", "config",
    }  # fmt: skip
    assert {"400", "404", "409", "413", "422"} <= set(operation["responses"])
