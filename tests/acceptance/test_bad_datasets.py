"""Zips that cannot be used: each gets an answer that says what is wrong and where."""

from __future__ import annotations

import io
import zipfile
from functools import cache

import httpx
import pytest
from PIL import Image

from tests.acceptance.photos import encoded, good_zip, photo, photos, zipped
from tests.acceptance.service import Json, error_of, get_job, post_job, problem_of, run_job


def refused(service: httpx.Client, dataset: bytes, code: str) -> Json:
    """The problem of an upload that is not taken; no job is left behind."""
    before = service.get("/jobs", params={"limit": 1}).json()["data"]
    problem = problem_of(post_job(service, dataset), 422, code)
    assert service.get("/jobs", params={"limit": 1}).json()["data"] == before
    return problem


def test_something_that_is_not_a_zip(service: httpx.Client) -> None:
    problem = refused(service, b"%PDF-1.7 this is not a zip", "not_a_zip")
    assert problem["errors"] == [
        {"param": "dataset", "code": "not_a_zip", "message": problem["detail"]}
    ]
    assert "photos.zip is not a zip file" in problem["detail"]


def test_a_zip_that_was_cut_off_on_the_way(service: httpx.Client) -> None:
    whole = good_zip()
    problem = refused(service, whole[: len(whole) // 2], "not_a_zip")
    assert "truncated" in problem["detail"]


def test_a_file_of_no_bytes(service: httpx.Client) -> None:
    assert "empty (0 bytes)" in refused(service, b"", "not_a_zip")["detail"]


def test_no_data_set_at_all(service: httpx.Client) -> None:
    problem = problem_of(service.post("/jobs", data={"name": "no zip"}), 422, "invalid_request")
    assert problem["errors"][0]["param"] == "dataset"


def test_a_zip_of_no_files(service: httpx.Client) -> None:
    error = error_of(service, zipped({}))
    assert error["code"] == "no_classes"
    assert "no files" in error["message"]


def test_a_zip_without_class_folders(service: httpx.Client) -> None:
    error = error_of(service, zipped({"1.png": photo("apple", 1), "2.png": photo("lime", 2)}))
    assert error["code"] == "no_classes"
    assert "class/photo.jpg" in error["message"]


def test_a_zip_damaged_in_the_middle_loses_the_damaged_file_only(service: httpx.Client) -> None:
    data = bytearray(good_zip())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        damaged = archive.infolist()[0]
    start = damaged.header_offset + 30 + len(damaged.filename)
    data[start + 100 : start + 200] = bytes(100)
    job = run_job(service, bytes(data))
    assert job["status"] == "succeeded", job["error"]
    assert job["dataset"]["rejected"] == [
        {"file": damaged.filename, "reason": "damaged inside the zip"}
    ]


def test_only_one_class(service: httpx.Client) -> None:
    error = error_of(service, zipped(photos("apple")))
    assert error["code"] == "one_class"
    assert error["param"] == "apple"
    assert "at least two are needed" in error["message"]


def test_a_class_with_one_image_is_tuned_with_a_warning(service: httpx.Client) -> None:
    job = run_job(service, zipped(photos("apple", "lime") | photos("banana", count=1)))
    assert job["status"] == "succeeded", job["error"]
    [warning] = [w for w in job["warnings"] if "single image" in w]
    assert warning.startswith("banana")
    events = service.get(f"/jobs/{job['id']}/events", params={"limit": 1000}).json()["data"]
    assert {"message": warning} in [e["data"] for e in events if e["type"] == "warning"]


def test_a_class_folder_with_no_readable_image(service: httpx.Client) -> None:
    bad = {"banana/1.png": b"no image", "banana/2.jpg": b""}
    error = error_of(service, zipped(photos("apple") | bad))
    assert error["code"] == "empty_class"
    assert error["param"] == "banana"
    assert "1.png: not an image" in error["message"]
    assert "2.jpg: the file is empty (0 bytes)" in error["message"]


def test_class_folders_without_readable_images_are_left_out(service: httpx.Client) -> None:
    bad = {"banana/1.png": b"no image", "cherry/": b""}
    job = run_job(service, zipped(photos("apple", "lime") | bad))
    assert job["status"] == "succeeded", job["error"]
    assert job["dataset"]["classes"] == ["apple", "lime"]
    assert any(warning.startswith("banana is left out") for warning in job["warnings"])
    assert "cherry/ is left out: it has no images" in job["warnings"]


def test_class_folders_that_are_numbers(service: httpx.Client) -> None:
    files = {
        f"{number}/{i}.png": photo("lime", 10 * number + i) for number in (1, 2) for i in range(4)
    }
    error = error_of(service, zipped(files))
    assert error["code"] == "numeric_class"
    assert [problem["where"] for problem in error["problems"]] == ["1", "2"]
    assert "class_names" in error["message"]


def test_class_names_give_words_to_folders_that_are_numbers(service: httpx.Client) -> None:
    files = {"1/": b"", "2/": b""}
    for number, name in (("1", "apple"), ("2", "lime")):
        files |= {f"{number}/{i}.png": photo(name, i) for i in range(4)}
    job = run_job(service, zipped(files), class_names={"1": "red apple", "2": "lime"})
    assert job["status"] == "succeeded", job["error"]
    assert job["dataset"]["classes"] == ["1", "2"]
    assert job["class_names"] == {"1": "red apple", "2": "lime"}


@pytest.mark.parametrize("twin", ["Red_Apple", "red-apple", "RED APPLE"])
def test_two_folders_that_name_the_same_class(service: httpx.Client, twin: str) -> None:
    error = error_of(service, zipped(photos("red apple", twin, "lime")))
    assert error["code"] == "same_class_words"
    assert "red apple" in error["message"]
    assert twin in error["message"]


def test_class_names_for_a_folder_that_is_not_there(service: httpx.Client) -> None:
    job = run_job(service, zipped(photos("apple", "lime")), class_names={"appel": "apple"})
    assert job["status"] == "failed"
    assert job["error"]["code"] == "unknown_class_name"
    assert job["error"]["param"] == "appel"


def test_all_problems_are_reported_at_once(service: httpx.Client) -> None:
    files = photos("apple", "lime", "Lime") | {"7/1.png": photo("lime", 9), "banana/": b""}
    error = error_of(service, zipped(files))
    found = {(problem["where"], problem["code"]) for problem in error["problems"]}
    assert ("7", "numeric_class") in found
    assert {code for _, code in found} >= {"same_class_words"}
    assert all(problem["message"] for problem in error["problems"])


@pytest.mark.parametrize(
    ("path", "code"),
    [("../outside.png", "unsafe_path"), ("/etc/passwd.png", "unsafe_path")],
)
def test_a_zip_that_leads_out_of_its_folder(service: httpx.Client, path: str, code: str) -> None:
    error = error_of(service, zipped(photos("apple", "lime") | {path: photo("lime", 1)}))
    assert error["code"] == code
    assert error["param"] == path


@cache
def black(side: int) -> bytes:
    """A PNG of side x side pixels that is small as a file, and huge in memory."""
    return encoded(Image.new("1", (side, side)))


@pytest.fixture(scope="module")
def job_with_bad_images(service: httpx.Client) -> Json:
    """Good images of two classes, and one of every kind of bad one."""
    whole = photo("lime", 50, "JPEG")
    files = photos("apple", "lime") | {
        "lime/corrupt.png": photo("lime", 51)[:8] + b"\0" * 400,
        "lime/cut.jpg": whole[: len(whole) // 2],
        "lime/zero.jpg": b"",
        "lime/huge.png": black(9_000),
        "lime/bomb.png": black(20_000),
        "lime/text.jpg": b"These are words.",
        "lime/document.png": b"%PDF-1.7 and so on",
        "lime/png-inside.jpg": photo("lime", 52),
        "lime/photo.dat": photo("lime", 53),
        "readme.txt": b"words beside the folders",
    }
    job = run_job(service, zipped(files))
    assert job["status"] == "succeeded", job["error"]
    return job


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        pytest.param("lime/corrupt.png", "damaged", id="corrupt"),
        pytest.param("lime/cut.jpg", "truncated", id="truncated"),
        pytest.param("lime/zero.jpg", "the file is empty (0 bytes)", id="zero-byte"),
        pytest.param("lime/huge.png", "9,000 x 9,000 pixels (limit", id="huge-pixel"),
        pytest.param("lime/bomb.png", "too many pixels", id="pixel-bomb"),
        pytest.param("lime/text.jpg", "not an image", id="text-as-jpg"),
        pytest.param("lime/document.png", "a PDF document", id="pdf-as-png"),
        pytest.param("readme.txt", "outside the class folders", id="outside"),
    ],
)
def test_a_bad_image_is_left_out_by_name_and_reason(
    job_with_bad_images: Json, file: str, reason: str
) -> None:
    rejected = {r["file"]: r["reason"] for r in job_with_bad_images["dataset"]["rejected"]}
    assert reason in rejected[file]


@pytest.mark.parametrize("file", ["lime/png-inside.jpg", "lime/photo.dat"])
def test_an_image_under_a_wrong_extension_is_used(
    service: httpx.Client, job_with_bad_images: Json, file: str
) -> None:
    """What a file is, its content tells."""
    rejected = {r["file"] for r in job_with_bad_images["dataset"]["rejected"]}
    assert file not in rejected
    assert len(rejected) == 8
    assert job_with_bad_images["dataset"]["images"] == 8 + 2


def test_bad_images_do_not_change_what_the_good_ones_give(
    service: httpx.Client, job_with_bad_images: Json
) -> None:
    good = photos("apple", "lime") | {
        "lime/png-inside.jpg": photo("lime", 52),
        "lime/photo.dat": photo("lime", 53),
    }
    alone = run_job(service, zipped(good))
    assert alone["dataset"]["content_sha256"] == job_with_bad_images["dataset"]["content_sha256"]
    for name in ("zero_shot", "tuned", "served"):
        assert alone["metrics"][name] == job_with_bad_images["metrics"][name]


def test_the_service_works_after_bad_uploads(service: httpx.Client, tuned: Json) -> None:
    assert service.get("/health/ready").json()["status"] == "ready"
    assert get_job(service, tuned["id"])["status"] == "succeeded"
