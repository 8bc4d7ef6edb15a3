"""Uploads in parts: cut at any point, they go on where they were."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dspt_client
import httpx
import pytest
from dspt_client import Client
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.access.keys import create
from app.datasets import upload_parts, uploads
from app.gc.findings import Finding, Kind
from app.gc.service import collect
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.settings import Settings
from app.kit.storage.objects import ObjectStorage
from app.main import create_app
from app.tables.uploads import Upload
from tests.integration.access import bearer
from tests.integration.conftest import context_of, local_client, zip_of
from tests.integration.databases import on_sqlite
from tests.integration.jobs import files_in, problem
from tests.integration.own_api import running
from tests.integration.stack import photos
from tests.s3_server import S3Server
from tests.services import free_port

PART = 3000
DATA = zip_of(photos(2))
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", PART)


def start(client: TestClient, data: bytes = DATA, **changes: Any) -> dict[str, Any]:
    wanted = {"filename": "a.zip", "size_bytes": len(data), "sha256": SHA256} | changes
    answer = client.post("/uploads", json=wanted)
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    return upload


def put(
    client: TestClient,
    upload: dict[str, Any],
    number: int,
    data: bytes = DATA,
    digest: str | None = None,
) -> Any:
    part = data[(number - 1) * PART : number * PART]
    headers = {"Content-Digest": digest} if digest else content_digest(part)
    return client.put(f"/uploads/{upload['id']}/parts/{number}", content=part, headers=headers)


def content_digest(part: bytes) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(part).digest()).decode()
    return {"Content-Digest": f"sha-256=:{digest}:"}


def finish(client: TestClient, upload: dict[str, Any]) -> Any:
    return client.post("/datasets", data={"upload_id": upload["id"]})


def parts_in(context: Context) -> set[str]:
    return {name for name in files_in(context) if name.startswith("uploads/")}


def parts_in_bucket(context: Context) -> list[str]:
    return [file.name for file in context.storage.files() if file.name.startswith("uploads/")]


def test_only_what_is_missing_is_sent_again(client: TestClient, live: Context) -> None:
    upload = start(client)
    where, parts = upload["links"]["self"], upload["parts"]
    assert (upload["part_bytes"], parts) == (PART, -(-len(DATA) // PART))
    assert parts > 3
    assert upload["missing"] == list(range(1, parts + 1))

    for number in (parts, 2, 2):  # in any order, and twice
        assert put(client, upload, number).status_code == 204
    again = start(client)
    assert again == client.get(where).json()
    assert (again["id"], len(again["missing"])) == (upload["id"], parts - 2)
    assert {2, parts}.isdisjoint(again["missing"])

    damaged = put(client, upload, 1, digest=f"sha-256=:{'A' * 43}=:")
    problem(damaged, 400, "damaged_part")
    problem(put(client, upload, 1, digest="md5=:AAAA:"), 422, "invalid_request")
    problem(put(client, upload, 1, DATA[:-1][: PART - 1]), 422, "invalid_request")
    problem(put(client, upload, parts + 1), 404, "part_not_found")
    assert (
        "parts have not arrived: 1, 3"
        in problem(finish(client, upload), 409, "upload_incomplete")["detail"]
    )

    for number in again["missing"]:
        assert put(client, upload, number).status_code == 204
    made = finish(client, upload)
    assert made.status_code == 201, made.text
    assert (made.json()["sha256"], made.json()["filename"]) == (SHA256, "a.zip")
    assert not parts_in(live)
    problem(client.get(where), 404, "upload_not_found")
    problem(put(client, upload, 1), 404, "upload_not_found")
    # The same zip again: nothing to send, in parts or whole.
    known = start(client)
    assert (known["id"], known["dataset_id"], known["missing"]) == (None, made.json()["id"], [])
    whole = client.post("/datasets", files={"dataset": ("b.zip", DATA)})
    assert whole.json()["id"] == made.json()["id"]


@on_sqlite
def test_what_is_no_data_set_is_refused_and_deleted(client: TestClient, live: Context) -> None:
    text = b"no zip"
    other = zip_of(photos(3))
    for data, sha256, status, code in (
        (text, None, 422, "not_a_zip"),
        (other, SHA256, 400, "damaged_upload"),
    ):
        upload = start(client, data, sha256=sha256)
        for number in upload["missing"]:
            assert put(client, upload, number, data).status_code == 204
        problem(finish(client, upload), status, code)
        problem(client.get(upload["links"]["self"]), 404, "upload_not_found")
    assert client.get("/datasets").json()["data"] == []
    assert not parts_in(live)
    for data_, files in (({}, None), ({"upload_id": "upl_1"}, {"dataset": ("a.zip", DATA)})):
        problem(client.post("/datasets", data=data_, files=files), 422, "invalid_request")


@on_sqlite
def test_each_owner_has_limits(settings: Settings) -> None:
    limits = {"max_stored_bytes_per_owner": 3 * len(DATA), "max_upload_bytes": 2 * len(DATA)}
    with local_client(create_app(settings.model_copy(update=limits))) as client:
        _check_limits(client, context_of(client))


def _check_limits(client: TestClient, live: Context) -> None:
    with live.database.write() as session:
        ann, bob = (
            bearer(create(session, name, owner=name, scopes=[Scope.READ, Scope.SUBMIT])[1])
            for name in ("ann", "bob")
        )
    wanted = {"size_bytes": len(DATA), "sha256": SHA256}
    mine = client.post("/uploads", json=wanted, headers=ann).json()
    theirs = client.post("/uploads", json=wanted, headers=bob).json()
    assert mine["id"] != theirs["id"]
    for method in (client.get, client.delete):
        problem(method(mine["links"]["self"], headers=bob), 404, "upload_not_found")

    sized = {"size_bytes": 2 * len(DATA)}
    assert client.post("/uploads", json=sized, headers=ann).status_code == 201
    problem(client.post("/uploads", json={"size_bytes": 1}, headers=ann), 429, "quota_bytes")
    assert client.delete(mine["links"]["self"], headers=ann).status_code == 204
    for _ in range(uploads._MOST_OPEN - 1):
        assert client.post("/uploads", json={"size_bytes": 1}, headers=ann).status_code == 201
    problem(client.post("/uploads", json={"size_bytes": 1}, headers=ann), 429, "quota_uploads")
    problem(
        client.post("/uploads", json={"size_bytes": 2 * len(DATA) + 1}, headers=bob),
        413,
        "payload_too_large",
    )


def test_an_upload_with_the_parts_of_an_earlier_version_goes_on(client: TestClient) -> None:
    upload = start(client)
    with patch.object(uploads, "PART_BYTES", PART // 2):  # the upgrade
        for number in range(1, -(-len(DATA) // PART) + 1):
            answer = put(client, upload, number)
            assert answer.status_code in (200, 204), answer.text
        assert client.get(upload["links"]["self"]).json()["missing"] == []


def test_what_is_left_is_deleted_after_a_day(client: TestClient, live: Context) -> None:
    old, new = start(client, sha256=None), start(client)
    for upload in (old, new):
        assert put(client, upload, 1).status_code == 204
    with live.database.write() as session:
        day = datetime.now(UTC) - timedelta(hours=25)
        session.execute(update(Upload).where(Upload.id == old["id"]).values(touched_at=day))
    expected = [Finding(Kind.UPLOAD, old["id"], count=1)]
    assert list(collect(live, dry_run=True, grace_seconds=0)) == expected
    assert client.get(old["links"]["self"]).status_code == 200
    assert list(collect(live, grace_seconds=0)) == expected
    problem(client.get(old["links"]["self"]), 404, "upload_not_found")
    # The parts of an open upload are no garbage, however old.
    [kept] = parts_in(live)
    assert kept == f"uploads/{new['id']}/1"
    # If the storage has lost parts, all are sent again.
    for number in range(1, new["parts"] + 1):
        assert put(client, new, number).status_code == 204
    live.storage.delete(f"uploads/{new['id']}/2")
    problem(finish(client, new), 409, "upload_incomplete")
    assert start(client)["missing"] == list(range(1, new["parts"] + 1))


@on_sqlite
def test_the_client_goes_on_after_a_cut(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dspt_client._uploads.LARGE_BYTES", PART)
    place = tmp_path / "photos.zip"
    place.write_bytes(DATA)
    sent: list[int] = []
    receive = upload_parts.receive

    def cut(context: Context, caller: Any, upload_id: str, number: int, *rest: Any) -> None:
        if number == 3 and 3 not in sent:
            sent.append(3)
            raise RuntimeError("the third part is lost")
        sent.append(number)
        receive(context, caller, upload_id, number, *rest)

    monkeypatch.setattr(upload_parts, "receive", cut)
    with running(settings) as (url, _), Client(url) as client:
        with pytest.raises(dspt_client.ServerError):
            client.datasets.create(place)
        assert sent == [1, 2, 3]
        steps: list[tuple[str, int, int]] = []
        made = client.datasets.create(place, on_progress=lambda *step: steps.append(step))
        assert made.sha256 == SHA256
        assert sent == [1, 2, 3, *range(3, -(-len(DATA) // PART) + 1)]
        assert steps[-1] == ("sending", len(DATA), len(DATA))
        assert {stage for stage, *_ in steps} == {"checking", "sending"}
        # A job on the same photos sends nothing.
        sent.clear()
        assert client.jobs.create(place).view.dataset.id == made.id
        assert sent == []


@on_sqlite
def test_parts_go_to_the_bucket_itself(
    settings: Settings, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dspt_client._uploads.LARGE_BYTES", PART)
    received: list[int] = []
    receive = upload_parts.receive

    def watched(context: Context, caller: Any, upload_id: str, number: int, *rest: Any) -> None:
        received.append(number)
        receive(context, caller, upload_id, number, *rest)

    monkeypatch.setattr(upload_parts, "receive", watched)
    place = tmp_path / "photos.zip"
    place.write_bytes(DATA)
    update = {"storage_url": s3.new_url(), "s3_endpoint": s3.endpoint, "presigned_uploads": True}
    with running(settings.model_copy(update=update)) as (url, live), Client(url) as client:
        assert client.datasets.create(place).sha256 == SHA256
        assert received == []
        assert not parts_in_bucket(live)

        other = zip_of(photos(3))
        with httpx.Client(base_url=url) as http:
            upload = http.post("/uploads", json={"size_bytes": len(other)}).json()
            first = upload["links"]["part_url"].format(number=1)
            stored = first.removesuffix("url") + "stored"
            digest = content_digest(other[:PART])
            problem(http.post(stored, headers=digest), 409, "part_missing")
            for wrong, status, code in (
                (other[: PART - 1], 422, "invalid_request"),
                (other[1 : PART + 1], 400, "damaged_part"),
            ):
                assert httpx.put(http.post(first).json()["url"], content=wrong).is_success
                problem(http.post(stored, headers=digest), status, code)
                problem(http.post(stored, headers=digest), 409, "part_missing")  # it was deleted
            target = http.post(first).json()["url"]
            assert httpx.put(target.replace("Signature=", "Signature=0")).status_code == 403
            assert httpx.put(target, content=other[:PART]).is_success
            assert http.post(stored, headers=digest).status_code == 204
            missing = http.get(upload["links"]["self"]).json()["missing"]
            assert missing == list(range(2, upload["parts"] + 1))

        # A bucket that the client cannot reach: the parts go to the service.
        away = f"http://127.0.0.1:{free_port()}/"
        monkeypatch.setattr(ObjectStorage, "upload_url", lambda *_: away)
        place.write_bytes(other)
        assert client.datasets.create(place).sha256 == hashlib.sha256(other).hexdigest()
        assert received == list(range(1, upload["parts"] + 1))


def test_a_folder_takes_no_parts_itself(client: TestClient) -> None:
    upload = start(client)
    assert "part_url" not in upload["links"]
    answer = client.post(f"{upload['links']['self']}/parts/1/url")
    problem(answer, 409, "not_presigned")
