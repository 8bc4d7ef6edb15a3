"""Data sets that cannot be used, or only in part: the page lists every problem by file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dspt_client.schemas.datasets import DatasetHealth
from playwright.sync_api import Browser, Page, expect

from dspt.report.finding import HealthFile, HealthFinding
from dspt.report.health import HealthReport
from tests.acceptance.photos import photo, photos, zipped
from tests.acceptance.test_bad_datasets import black
from tests.acceptance.web.conftest import check_accessible, window
from tests.acceptance.web.own_api import OwnApi, own_api
from worker.run import run_next

TWO = photos("apple", "lime")
#: Zips that the API takes and a worker refuses.
REFUSED = {
    "no files": zipped({}),
    "no class folders": zipped({"1.png": photo("apple", 1), "2.png": photo("lime", 2)}),
    "one class": zipped(photos("apple")),
    "no readable photo": zipped({"apple/1.png": b"text", "lime/2.png": b"%PDF-1.7"}),
    "the same class twice": zipped(photos("red apple", "Red_Apple", "lime")),
    "several problems": zipped(
        photos("apple", "lime", "Lime") | {"7/1.png": photo("lime", 9), "banana/": b""}
    ),
    "a path that leads out": zipped(TWO | {"../outside.png": photo("lime", 1)}),
    "an absolute path": zipped(TWO | {"/etc/passwd.png": photo("lime", 1)}),
}
#: What the API itself refuses -> a part of what it says.
NO_ZIP = {"": "empty (0 bytes)", "%PDF-1.7 this is not a zip": "not a zip file"}


def bad_photos() -> dict[str, bytes]:
    return {
        "lime/corrupt.png": photo("lime", 51)[:8] + b"\0" * 400,
        "lime/zero.jpg": b"",
        "lime/bomb.png": black(20_000),
        "lime/text.jpg": b"These are words.",
        "readme.txt": b"words beside the folders",
    }


def health_of(dataset: str, job_id: str) -> Any:
    """The health report of a photo that can be read and of one that cannot."""
    found = [
        HealthFinding.of("tiny", "1 photo is tiny", files=[HealthFile("apple/0.png")]),
        HealthFinding.of("unreadable", "1 file is left out", files=[HealthFile("lime/bomb.png")]),
    ]
    report = HealthReport(True, 1, 1, 1, {"train": 1}, (), 0, tuple(found)).to_dict()
    ids = {"dataset_id": dataset, "job_id": job_id, "created_at": datetime.now(UTC)}
    return DatasetHealth.model_validate(report | ids).model_dump(mode="json")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnApi]:
    with own_api(tmp_path_factory.mktemp("bad")) as opened:
        yield opened


def send(page: Page, path: Path) -> None:
    page.goto("/ui/#/jobs")  # a view that is left forgets what it was given
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    page.goto("/ui/#/new")
    page.get_by_label("Choose a zip").set_input_files(path)
    page.get_by_role("button", name="Send and tune").click()


@pytest.mark.slow
def test_every_problem_of_a_data_set_is_shown_in_the_words_of_the_api(
    browser: Browser, api: OwnApi, tmp_path: Path
) -> None:
    path = tmp_path / "photos.zip"
    with window(browser, api.address, expected="status of 422") as opened:
        page = opened.new_page()
        for content, text in NO_ZIP.items():
            path.write_text(content)
            send(page, path)
            expect(page.locator(".trouble", has_text=text)).to_be_visible()
            link = page.get_by_role("link", name="How to fix not_a_zip")
            assert api.client.get(link.get_attribute("href") or "").status_code == 200
        assert api.client.get("/jobs").json()["data"] == []
        for family, content in REFUSED.items():
            path.write_bytes(content)
            send(page, path)
            page.wait_for_url("**/ui/#/jobs/job_*")
            assert run_next(api.context, "worker")
            expect(page.locator(".title .badge")).to_have_text("failed")
            error = api.client.get(f"/jobs/{page.url.rpartition('/')[2]}").json()["error"]
            shown = page.get_by_role("alert")
            # Quotation marks for code are shown as code.
            for text in (error["message"], *(each["message"] for each in error["problems"])):
                expect(shown, family).to_contain_text(text.replace("`", ""))
            for where in filter(None, (each["where"] for each in error["problems"])):
                expect(shown, family).to_contain_text(where)
                expect(shown, family).not_to_contain_text(f"{where} {where}: ")
            expect(page.get_by_role("main"), family).not_to_contain_text("[object")
        check_accessible(page, "refused photos")


@pytest.mark.slow
def test_photos_that_cannot_be_read_are_named_and_have_a_placeholder(
    browser: Browser, api: OwnApi
) -> None:
    job_id = api.finished({"cat/good.png": "cat", "dog/good.png": "dog"})
    made = api.client.post("/datasets", files={"dataset": ("x.zip", zipped(TWO | bad_photos()))})
    dataset = made.json()["id"]
    found = api.client.get(f"/datasets/{dataset}/images?limit=1000").json()["data"]
    (bomb,) = (each["number"] for each in found if each["file"] == "lime/bomb.png")
    address = f"/datasets/{dataset}/images/{bomb}?size=192"
    assert "too many pixels" in api.client.get(address).json()["detail"]
    # The health page asks for no picture of a file that cannot be read.
    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.route("**/health", lambda route: route.fulfill(json=health_of(dataset, job_id)))
        page.goto(f"/ui/#/datasets/{dataset}")
        expect(page.locator(".finding img")).to_have_attribute("alt", "apple/0.png")
        expect(page.locator(".finding .no-picture")).to_have_text("lime/bomb.png")
    with window(browser, api.address, expected="status of 422") as opened:
        page = opened.new_page()
        # In the place of a photo of the review the API says that the photo is a bomb.
        page.route("**/images/*", lambda route: route.continue_(url=api.address + address))
        page.goto(f"/ui/#/jobs/{job_id}/review")
        missing = page.locator(".gallery img.missing")
        expect(missing).to_have_count(2)
        expect(missing.first).to_have_attribute("alt", "good.png")
        check_accessible(page, "no photos")
