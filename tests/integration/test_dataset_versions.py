"""Photos added to a stored data set: a new version that shares the files of the old one."""

from __future__ import annotations

import dataclasses
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dspt_client import Client
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import update

from app.access.keys import create
from app.datasets import additions, service
from app.gc.service import collect
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.main import create_app
from app.tables.datasets import Dataset
from dspt.labels.corrections import Corrections
from tests.integration.access import bearer
from tests.integration.conftest import local_client, zip_of
from tests.integration.databases import on_sqlite
from tests.integration.jobs import files_in, problem
from tests.integration.own_api import running
from tests.integration.stack import photos

FILES = photos(2)
MORE = {f"red/{n}.png": data for n, data in enumerate(photos(4).values())}


def upload(client: TestClient, files: dict[str, bytes] = FILES, **headers: str) -> dict[str, Any]:
    answer = client.post("/datasets", files={"dataset": ("a.zip", zip_of(files))}, headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def add(client: TestClient, to: str, files: dict[str, bytes] = MORE, **headers: str) -> Any:
    archive = {"archive": ("more.zip", zip_of(files))}
    return client.post(f"/datasets/{to}/images", files=archive, headers=headers)


def added(client: TestClient, to: str, files: dict[str, bytes] = MORE) -> dict[str, Any]:
    answer = add(client, to, files)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/datasets/{found['id']}"
    return found


def corrected(live: Context, dataset_id: str, corrections: Corrections) -> str:
    with live.database.read() as session:
        dataset = session.get_one(Dataset, dataset_id)
    return service.store(live, service.corrected(dataset, corrections), dataset.owner)


def listed(client: TestClient, dataset_id: str) -> list[tuple[int, str, str]]:
    found = client.get(f"/datasets/{dataset_id}/images").json()["data"]
    return [(photo["number"], photo["file"], photo["label"]) for photo in found]


def test_a_version_has_the_old_photos_the_new_ones_and_the_corrections(
    client: TestClient, live: Context
) -> None:
    first = upload(client)
    assert (first["version"], first["parent_id"]) == (1, None)
    before = listed(client, first["id"])
    second = corrected(live, first["id"], Corrections.of({"red/0.png": "blue"}, ["red/1.png"]))
    third = added(client, second)
    assert (third["version"], third["parent_id"], third["images"]) == (3, second, 3 + len(MORE))
    assert added(client, second) == third  # stored once
    assert listed(client, third["id"]) == [
        *((0, "blue/0.png", "blue"), (1, "blue/1.png", "blue"), (2, "red/0.png", "blue")),
        *((4, "red/0 (2).png", "red"), (5, "red/1 (2).png", "red")),
        *((n + 4, f"red/{n}.png", "red") for n in range(2, 8)),
    ]
    assert listed(client, first["id"]) == before

    # The same photos added to another version are another data set, with its own corrections.
    other = added(client, first["id"])
    twins = [
        corrected(live, each["id"], Corrections.of({"red/7.png": "blue"}))
        for each in (third, other)
    ]
    assert len({third["id"], other["id"], *twins}) == 4
    assert [listed(client, each)[-1] for each in twins] == [(11, "red/7.png", "blue")] * 2
    assert client.get(f"/datasets/{twins[0]}").json()["version"] == 5

    # Pictures come from the right zip, and only what is new is stored.
    for number, content in ((3, FILES["red/1.png"]), (5, MORE["red/1.png"])):
        answer = client.get(f"/datasets/{third['id']}/images/{number}?size=original")
        with (
            Image.open(io.BytesIO(content)) as expected,
            Image.open(io.BytesIO(answer.content)) as shown,
        ):
            assert shown.size == expected.size
            colour = [
                each.resize((1, 1)).convert("RGB").getpixel((0, 0)) for each in (shown, expected)
            ]
            assert max(abs(a - b) for a, b in zip(*colour, strict=True)) < 6
    zips = [name for name in files_in(live) if name.endswith(".zip")]
    stored = sum(len(live.storage.read_bytes(name)) for name in zips)
    assert (len(zips), stored) == (3, len(zip_of(FILES)) + 2 * len(zip_of(MORE)))


def test_files_live_while_a_version_refers_to_them(client: TestClient, live: Context) -> None:
    first = upload(client)
    second = added(client, first["id"])
    third = corrected(live, second["id"], Corrections.of({"red/5.png": "blue"}))
    job = client.post("/jobs", data={"dataset_id": third}).json()
    for each in (first["id"], second["id"]):
        problem(client.delete(f"/datasets/{each}"), 409, "dataset_in_use")
        assert client.get(f"/datasets/{each}").json()["kept"]
    client.post(f"/jobs/{job['id']}/cancel")
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert [len(listed(client, each["id"])) for each in (first, second)] == [4, 12]
    problem(client.get(f"/datasets/{third}"), 404, "dataset_not_found")

    # A job's own data set stays for the version made from it, and goes with that.
    archive = {"dataset": ("b.zip", zip_of(photos(3)))}
    job = client.post("/jobs", files=archive).json()
    base = job["dataset"]["id"]
    version = added(client, base)["id"]
    client.post(f"/jobs/{job['id']}/cancel")
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert len(listed(client, version)) == 6 + len(MORE)
    assert client.delete(f"/datasets/{version}").status_code == 204
    problem(client.get(f"/datasets/{base}"), 404, "dataset_not_found")
    assert client.delete(f"/datasets/{second['id']}").status_code == 204
    assert client.delete(f"/datasets/{first['id']}").status_code == 204
    assert not [name for name in files_in(live) if name.startswith("datasets/")]


def test_versions_expire_together(client: TestClient, live: Context) -> None:
    first = upload(client)
    second = added(client, first["id"])
    third = corrected(live, second["id"], Corrections.of({"red/5.png": "blue"}))
    fourth = added(client, third, {"blue/new.png": MORE["red/7.png"]})
    old = datetime.now(UTC) - timedelta(days=8)
    ids = {first["id"], second["id"], third}
    with live.database.write() as session:
        session.execute(update(Dataset).where(Dataset.id.in_(ids)).values(created_at=old))
    settings = live.settings.model_copy(update={"keep_datasets_days": 7})
    week = dataclasses.replace(live, settings=settings)
    assert list(collect(week)) == []
    with live.database.write() as session:
        session.execute(update(Dataset).values(created_at=old))
    assert {found.name for found in collect(week)} == ids | {fourth["id"]}
    assert client.get(f"/datasets/{fourth['id']}").json()["expired"]
    problem(add(client, fourth["id"]), 409, "dataset_expired")
    problem(client.post("/jobs", data={"dataset_id": second["id"]}), 409, "dataset_expired")
    assert not [name for name in files_in(live) if name.startswith("datasets/")]


@on_sqlite
def test_image_files_with_their_classes(client: TestClient) -> None:
    first = upload(client)["id"]
    images = [("images", (f"C:\\photos\\{n}.png", MORE[f"red/{n}.png"])) for n in range(2)]
    answer = client.post(f"/datasets/{first}/images", files=images, data={"label": "red"})
    assert answer.status_code == 201, answer.text
    assert listed(client, answer.json()["id"])[4:] == [
        (4, "images/0.png", "red"),
        (5, "images/1.png", "red"),
    ]
    fields = {"labels": json.dumps({"0.png": "blue", "1.png": "green"}), "split": "train"}
    green = client.post(f"/datasets/{first}/images", files=images, data=fields).json()
    assert green["warnings"] == ["green is a new class of the added photos"]
    assert {each["name"]: each["train"] for each in green["classes"]}["green"] == 1
    held_out = {"label": "red", "split": "test"}
    tests = client.post(f"/datasets/{first}/images", files=images, data=held_out).json()
    assert [each["test"] for each in tests["classes"]] == [0, 2]


@on_sqlite
@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, ["label"]),
        ({"label": "red", "labels": "{}"}, ["label"]),
        ({"labels": "no JSON"}, ["labels"]),
        ({"labels": '{"a.png": 1}'}, ["labels"]),
        ({"labels": '{"a.png": "red", "c.png": "red"}'}, ["b.png", "c.png"]),
        ({"label": " "}, ["a.png", "b.png"]),
    ],
)
def test_each_image_needs_a_class(
    unchanged: TestClient, fields: dict[str, str], where: list[str]
) -> None:
    first = upload(unchanged)["id"]
    images = [("images", (f"{name}.png", FILES["red/0.png"])) for name in "ab"]
    answer = unchanged.post(f"/datasets/{first}/images", files=images, data=fields)
    problem(answer, 422, "invalid_request")
    assert [each["param"] for each in answer.json()["errors"]] == where


@on_sqlite
def test_what_an_upload_would_refuse_is_refused(client: TestClient, live: Context) -> None:
    first = upload(client)["id"]
    before = files_in(live)
    problem(client.post(f"/datasets/{first}/images"), 422, "invalid_request")
    bad = {"archive": ("a.zip", b"no zip")}
    problem(client.post(f"/datasets/{first}/images", files=bad), 422, "not_a_zip")
    problem(add(client, first, {"../red/1.png": b"x"}), 422, "invalid_dataset")
    problem(add(client, first, {"Red/1.png": b"x"}), 422, "invalid_dataset")
    problem(add(client, first, {"1.png": b"x"}), 422, "invalid_dataset")
    twice = [("images", ("a.png", b"x")), ("images", ("b/a.png", b"y"))]
    answer = client.post(f"/datasets/{first}/images", files=twice, data={"label": "red"})
    problem(answer, 422, "invalid_request")
    large = {"archive": ("a.zip", bytes(1_100_000))}
    problem(client.post(f"/datasets/{first}/images", files=large), 413, "payload_too_large")
    problem(add(client, "ds_" + "0" * 26), 404, "dataset_not_found")
    assert files_in(live) == before
    assert len(client.get("/datasets").json()["data"]) == 1


@on_sqlite
def test_owners_quotas_and_the_number_of_versions(
    live: Context, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live.database.write() as session:
        keys = {n: create(session, n, n, [Scope.SUBMIT, Scope.READ])[1] for n in ("ann", "bob")}
        admin = create(session, "ada", "ada", list(Scope))[1]
    first = upload(client, FILES, **bearer(keys["ann"]))["id"]
    problem(add(client, first, MORE, **bearer(keys["bob"])), 404, "dataset_not_found")
    assert add(client, first, MORE, **bearer(admin)).status_code == 201
    with live.database.read() as session:
        assert {each.owner for each in session.query(Dataset)} == {"ann"}

    stored = len(zip_of(FILES)) + len(zip_of(MORE))
    small = live.settings.model_copy(update={"max_stored_bytes_per_owner": stored + 10})
    with local_client(create_app(small)) as limited:
        more = {"red/9.png": MORE["red/3.png"]}
        problem(add(limited, first, more, **bearer(keys["ann"])), 429, "quota_bytes")
    monkeypatch.setattr(additions, "MAX_ADDITIONS", 0)
    problem(add(client, first, MORE, **bearer(keys["ann"])), 409, "too_many_additions")


@on_sqlite
def test_the_client_adds_folders(client: TestClient, live: Context, tmp_path: Path) -> None:
    first = upload(client)["id"]
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "1.png").write_bytes(MORE["red/1.png"])
    with running(live.settings) as (url, _), Client(url) as python:
        made = python.datasets.add(first, folder, label="red")
        assert (made.version, made.parent_id, made.images) == (2, first, 5)
        with pytest.raises(ValueError, match="label"):
            python.datasets.add(first, folder / "1.png", label="red")
        more = python.datasets.add(first, folder, unlabelled=True)
        assert (more.version, more.images, more.unlabelled) == (3, 4, 1)
        with pytest.raises(ValueError, match="unlabelled"):
            python.datasets.add(first, folder, label="red", unlabelled=True)


@on_sqlite
def test_photos_without_labels_are_added(client: TestClient) -> None:
    first = upload(client)["id"]
    address = f"/datasets/{first}/images"
    files = [("images", ("1.png", MORE["red/1.png"], "image/png"))]
    made = client.post(address, files=files, data={"split": "unlabelled"})
    assert made.status_code == 201
    assert (made.json()["images"], made.json()["unlabelled"]) == (4, 1)
    repeated = client.post(address, files=files, data={"split": "unlabelled"})
    assert repeated.json()["id"] == made.json()["id"]
    zipped = add(client, first, {"unlabeled/1.png": MORE["red/1.png"]})
    assert (zipped.json()["images"], zipped.json()["unlabelled"]) == (4, 1)
    labelled = client.post(address, files=files, data={"split": "unlabelled", "label": "red"})
    problem(labelled, 422, "invalid_request")
    twice = client.post(address, files=files * 2, data={"split": "unlabelled"})
    problem(twice, 422, "invalid_request")
