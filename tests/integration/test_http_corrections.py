"""Corrections of a finished job over HTTP; nothing runs the jobs here."""

from __future__ import annotations

import csv
import io
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
from tests.integration.conftest import post_job
from tests.integration.corrections import GIVEN, correct, corrections_of, finish, finished
from tests.integration.databases import sqlite_first
from tests.integration.jobs import files_in, problem, statuses

pytestmark = sqlite_first


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
