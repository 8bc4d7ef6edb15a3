"""Data sets by themselves: uploaded, listed, looked at and deleted, without a worker."""

from __future__ import annotations

import io
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.access.keys import create
from app.datasets import service
from app.gc.findings import Finding, Kind
from app.gc.service import collect
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.main import create_app
from app.tables.datasets import Dataset
from dspt.data.images import as_jpeg
from dspt.labels.corrections import Corrections
from tests.integration.access import bearer
from tests.integration.conftest import local_client, zip_of
from tests.integration.databases import sqlite_first
from tests.integration.jobs import files_in, problem

pytestmark = sqlite_first


WIDE = (640, 320)


def picture(form: str = "PNG", size: tuple[int, int] = WIDE, **options: object) -> bytes:
    pixels = np.random.default_rng(size).integers(0, 255, (size[1] // 32, size[0] // 32, 3))
    image = Image.fromarray(pixels.astype(np.uint8)).resize(size)
    data = io.BytesIO()
    image.save(data, form, compress_level=1, **options)
    return data.getvalue()


@cache
def sideways() -> bytes:
    """A JPEG that is to be shown upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker"
    return picture("JPEG", exif=exif)


FILES = {
    "train/cat/1.png": picture(),
    "train/cat/2.jpg": sideways(),
    "train/cat/10.jpg": b"\xff\xd8\xff\xe0 damaged",
    "train/dog/1.png": picture(),
    "test/cat/7.png": picture(),
    "test/dog/7.png": picture(),
}


def upload(
    client: TestClient, files: dict[str, bytes] = FILES, **headers: str
) -> dict[str, object]:
    answer = client.post(
        "/datasets", files={"dataset": ("pets.zip", zip_of(files))}, headers=headers
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/datasets/{found['id']}"
    return found


def test_a_data_set_lives_without_jobs(client: TestClient, live: Context) -> None:
    made = upload(client)
    where = f"/datasets/{made['id']}"
    assert made["classes"] == [
        {"name": "cat", "train": 3, "val": 0, "test": 1},
        {"name": "dog", "train": 1, "val": 0, "test": 1},
    ]
    assert (made["images"], made["filename"], made["kept"]) == (6, "pets.zip", True)
    assert client.get(where).json() == made
    assert upload(client)["id"] == made["id"]  # stored once
    [listed] = client.get("/datasets").json()["data"]
    assert listed == {key: made[key] for key in listed}

    # A job uses it; when the job is deleted, it stays.
    job = client.post("/jobs", data={"dataset_id": made["id"]}).json()
    problem(client.delete(where), 409, "dataset_in_use")
    assert client.post(f"/jobs/{job['id']}/cancel").status_code == 202
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert client.get(where).json() == made
    assert client.delete(where).status_code == 204
    problem(client.get(where), 404, "dataset_not_found")
    assert not [name for name in files_in(live) if name.startswith("datasets/")]


def test_a_job_makes_one_that_goes_with_it_unless_it_is_uploaded_too(client: TestClient) -> None:
    for keep in (False, True):
        job = client.post("/jobs", files={"dataset": ("pets.zip", zip_of(FILES))}).json()
        where = f"/datasets/{job['dataset']['id']}"
        assert client.get(where).json()["kept"] is False
        if keep:
            assert upload(client)["id"] == job["dataset"]["id"]
        client.post(f"/jobs/{job['id']}/cancel")
        assert client.delete(f"/jobs/{job['id']}").status_code == 204
        assert client.get(where).status_code == (200 if keep else 404)


def test_what_a_job_would_refuse_is_refused_at_once(client: TestClient, live: Context) -> None:
    answer = client.post("/datasets", files={"dataset": ("a.zip", zip_of({"cat/1.png": b"x"}))})
    problem(answer, 422, "invalid_dataset")
    [item] = answer.json()["errors"]
    assert (item["param"], item["code"]) == ("cat", "one_class")
    assert client.get("/datasets").json()["data"] == []
    assert not [name for name in files_in(live) if name.startswith("datasets/")]


def test_photos_are_listed_by_part_and_class_in_pages(client: TestClient, live: Context) -> None:
    made = upload(client)
    images = f"/datasets/{made['id']}/images"
    found = client.get(images).json()
    assert [(p["number"], p["file"]) for p in found["data"]] == [
        (0, "test/cat/7.png"),
        (1, "test/dog/7.png"),
        (2, "train/cat/1.png"),
        (3, "train/cat/2.jpg"),
        (4, "train/cat/10.jpg"),
        (5, "train/dog/1.png"),
    ]
    assert (found["has_more"], found["next"]) == (False, None)
    page = client.get(images, params={"split": "train", "label": "cat", "limit": 2}).json()
    assert [p["number"] for p in page["data"]] == [2, 3]
    after = {"split": "train", "label": "cat", "after": page["next"]}
    assert [p["number"] for p in client.get(images, params=after).json()["data"]] == [4]

    # With corrections, a photo keeps its number.
    corrections = Corrections.of({"train/cat/2.jpg": "dog"}, ["train/cat/10.jpg"])
    with live.database.read() as session:
        parent = session.get(Dataset, made["id"])
    assert parent is not None
    child = service.store(live, service.corrected(parent, corrections), parent.owner)
    problem(client.delete(f"/datasets/{made['id']}"), 409, "dataset_in_use")
    dogs = client.get(f"/datasets/{child}/images", params={"split": "train", "label": "dog"}).json()
    assert [(p["number"], p["given"]) for p in dogs["data"]] == [(3, "cat"), (5, "dog")]
    detail = client.get(f"/datasets/{child}").json()
    assert (detail["images"], detail["relabelled"], detail["dropped"]) == (5, 1, 1)
    assert client.get(f"/datasets/{child}/images/3").content == client.get(f"{images}/3").content


def test_a_photo_is_encoded_anew_upright_and_cached(client: TestClient) -> None:
    images = f"/datasets/{upload(client)['id']}/images"
    for size, expected in (("192", (96, 192)), ("1280", (320, 640)), ("original", (320, 640))):
        answer = client.get(f"{images}/3", params={"size": size})
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        with Image.open(io.BytesIO(answer.content)) as shown:
            assert (shown.format, shown.size, dict(shown.getexif())) == ("JPEG", expected, {})
    known = {"If-None-Match": answer.headers["etag"]}
    again = client.get(f"{images}/3", params={"size": "original"}, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    problem(client.get(f"{images}/6"), 404, "photo_not_found")
    problem(client.get(f"{images}/-1"), 422, "invalid_request")
    unreadable = client.get(f"{images}/4")
    problem(unreadable, 422, "unreadable_photo")
    assert unreadable.json()["detail"].startswith("train/cat/10.jpg: ")
    assert client.get(f"{images}/3", params={"size": "200"}).status_code == 422


def test_a_photo_is_decoded_once_by_all_processes(
    client: TestClient, live: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def counted(data: bytes, side: int | None) -> bytes:
        decoded.append(side)
        return as_jpeg(data, side)

    monkeypatch.setattr("dspt.data.images.as_jpeg", counted)
    where = f"/datasets/{upload(client)['id']}"
    sizes = ("192", "384", "1280", "original")
    first = [client.get(f"{where}/images/3", params={"size": size}).content for size in sizes]
    assert decoded == [192, 384, 1280, None]
    again = [client.get(f"{where}/images/3", params={"size": size}).content for size in sizes]
    with local_client(create_app(live.settings)) as another:
        other = [another.get(f"{where}/images/3", params={"size": size}).content for size in sizes]
    assert first == again == other
    assert len(decoded) == 4

    # Pictures of deleted photos cannot be fetched, and go with the next round.
    folder = live.settings.picture_dir
    assert list(collect(live)) == []
    assert client.delete(where).status_code == 204
    problem(client.get(f"{where}/images/3"), 404, "dataset_not_found")
    size = sum(path.stat().st_size for path in folder.iterdir())
    gone = [Finding(Kind.PICTURES, str(folder), count=4, size_bytes=size)]
    assert list(collect(live, dry_run=True)) == gone
    assert list(collect(live)) == gone
    assert list(folder.iterdir()) == []


def test_pictures_need_no_more_disk_than_they_may(client: TestClient, live: Context) -> None:
    made = upload(client, {f"{name}/{n}.jpg": sideways() for name in "ab" for n in range(20)})
    settings = live.settings.model_copy(update={"picture_cache_bytes": 100_000})
    with local_client(create_app(settings)) as small:
        for number in range(40):
            answer = small.get(f"/datasets/{made['id']}/images/{number}")
            assert answer.status_code == 200
            kept = [path.stat().st_size for path in settings.picture_dir.iterdir()]
            assert 0 < sum(kept) <= settings.picture_cache_bytes
    assert len(kept) < 40


def test_photos_are_for_their_owner(client: TestClient, live: Context) -> None:
    with live.database.write() as session:
        tokens = {
            owner: create(session, owner, owner, [Scope.READ, Scope.SUBMIT])[1]
            for owner in ("alice", "bob")
        }
    made = upload(client, **bearer(tokens["alice"]))
    where, bob = f"/datasets/{made['id']}", bearer(tokens["bob"])
    for path in (where, f"{where}/images", f"{where}/images/0"):
        assert client.get(path, headers=bearer(tokens["alice"])).status_code == 200
        problem(client.get(path, headers=bob), 404, "dataset_not_found")  # although it is cached
    problem(client.delete(where, headers=bob), 404, "dataset_not_found")
    assert client.get("/datasets", headers=bob).json()["data"] == []
    assert upload(client, **bob)["id"] != made["id"]


def test_the_photos_of_the_demo_make_one_data_set_of_each_owner(client: TestClient) -> None:
    assert client.get("/session").json()["demo_photos"] is True
    made = client.post("/datasets/demo")
    assert made.status_code == 201, made.text
    found = made.json()
    assert made.headers["Location"] == f"/datasets/{found['id']}"
    assert (len(found["classes"]), found["images"], found["kept"]) == (12, 432, True)
    assert client.post("/datasets/demo").json()["id"] == found["id"]


def test_a_service_without_scikit_image_says_how_to_get_the_photos(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    detail = problem(client.post("/datasets/demo"), 409, "demo_not_installed")["detail"]
    assert "pip install 'dspt[demo]'" in detail
