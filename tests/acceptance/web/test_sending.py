"""Large uploads that are cut off, and jobs that are followed while the API restarts. No worker."""

from __future__ import annotations

import hashlib
import random
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.acceptance.photos import photo, photos, zipped
from tests.acceptance.web.conftest import check_accessible, measured, window
from tests.acceptance.web.own_api import OwnApi, archive_of, own_api, succeed
from tests.depth import DEEP
from tests.integration import test_feedback
from tests.integration.jobs import claim
from tests.services import wait_until

PART = 8 * 1024**2
#: What the browser itself writes on the console for a connection that the test cuts.
CUT = r"net::ERR_|status of 50[23]"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnApi]:
    with own_api(tmp_path_factory.mktemp("sending")) as opened:
        yield opened


def large_zip(path: Path, parts: int) -> Path:
    """A zip of a little less than so many parts. The API reads its names only."""
    content = random.Random(0).randbytes(1024**2 - 20_000)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("cat", "dog"):
            for number in range(4 * parts):
                file = f"{name}/{number}.jpg"  # all differ, and so do the parts
                archive.writestr(file, file.encode() + content[len(file) :])
    return path


def choose(page: Page, path: Path) -> None:
    page.goto("/ui/#/new")
    page.get_by_label("Choose a zip").set_input_files(path)
    expect(page.get_by_text("photos in 2 classes")).to_be_visible()


@pytest.mark.slow
def test_a_large_zip_that_is_cut_off_goes_on_also_after_a_reload(
    browser: Browser, api: OwnApi, tmp_path: Path
) -> None:
    path = large_zip(tmp_path / "pets.zip", 5)
    sent: list[str] = []
    cuts = {2: 1, 3: 100}  # part -> how often it fails

    def cut(route: Route, request: Request) -> None:
        part = int(request.url.rpartition("/")[2])
        cuts[part] -= 1
        if cuts[part] >= 0:
            route.abort("connectionreset")
        else:
            route.continue_()

    def arrived(request: Request) -> None:
        if "/parts/" in request.url:
            sent.append(request.url)

    with window(browser, api.address, expected=CUT) as opened:
        opened.on("requestfinished", arrived)
        # These two alone: the tests' side gets a copy of what is routed.
        opened.route(re.compile("/parts/[23]$"), cut)
        page = opened.new_page()
        choose(page, path)
        page.get_by_role("button", name="Send and tune").click()
        # The second part is sent again by itself; the third fails until the page is reloaded.
        expect(page.get_by_text("The connection was lost; the upload goes on")).to_be_visible()
        wait_until(lambda: page.wait_for_timeout(50) or cuts[3] < 100, 30, "the third part")
        page.on("dialog", lambda asked: asked.accept())
        page.reload()
        opened.unroute_all()
        choose(page, path)
        page.get_by_role("button", name="Send and tune").click()
        page.wait_for_url("**/ui/#/jobs/job_*")
        job_id = page.url.rpartition("/")[2]
        expect(page.get_by_text("no worker is running")).to_be_visible()
    assert [int(url.rpartition("/")[2]) for url in sent] == [1, 2, 3, 4, 5]
    assert len({url.split("/")[-3] for url in sent}) == 1
    job = api.client.get(f"/jobs/{job_id}").json()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (job["name"], job["dataset"]["sha256"]) == ("pets", sha256)


def folder_of(path: Path, photos_per_class: int) -> Path:
    """Two classes with so many files of 100 kB."""
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        for number in range(photos_per_class):
            (path / name / f"{number}.jpg").write_bytes(random.randbytes(100_000))
    return path


@pytest.mark.slow
def test_an_upload_whose_answer_is_lost_makes_one_job(
    browser: Browser, api: OwnApi, tmp_path: Path
) -> None:
    jobs = len(api.client.get("/jobs").json()["data"])
    lost: list[str] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().json()["id"])
            route.abort("connectionreset")

    with window(browser, api.address, expected=CUT) as opened:
        page = opened.new_page()
        page.goto("/ui/#/new")
        page.get_by_label("Choose a folder").set_input_files(folder_of(tmp_path / "few", 2))
        page.route("**/jobs", lose)
        page.get_by_role("button", name="Send and tune").click()
        expect(page.get_by_role("alert")).to_contain_text("no second job is created")
        page.get_by_role("button", name="Send again").click()
        page.wait_for_url(f"**/ui/#/jobs/{lost[0]}")
        page.unroute("**/jobs")

        page.goto("/ui/#/new")
        page.get_by_label("Choose a folder").set_input_files(folder_of(tmp_path / "many", 150))
        expect(page.get_by_text("300 photos in 2 classes")).to_be_visible()
        start = time.monotonic()
        page.get_by_role("button", name="Send and tune").click()
        page.wait_for_url("**/ui/#/jobs/job_*")
        seconds = time.monotonic() - start
        measured(f"300 photos of 30 MB sent in {seconds:.1f} s")
        assert seconds < 5 or not DEEP
    assert len(api.client.get("/jobs").json()["data"]) == jobs + 2


@pytest.mark.deep
def test_a_very_large_zip_needs_little_memory_and_can_be_cancelled(
    browser: Browser, api: OwnApi, tmp_path: Path
) -> None:
    path = large_zip(tmp_path / "many.zip", 128)
    jobs = api.client.get("/jobs").json()["data"]
    with window(browser, api.address, expected=CUT) as opened:
        page = opened.new_page()
        page.goto("/ui/#/new")
        expect(page.get_by_label("Choose a zip")).to_be_attached()
        before = largest_renderer()
        choose(page, path)
        with page.expect_request("**/uploads/*/parts/*") as first:
            page.get_by_role("button", name="Send and tune").click()
        upload = "/".join(first.value.url.split("/")[-4:-2])
        most, seen = 0, set()
        while len(api.client.get(f"/{upload}").json()["missing"]) > 64:
            most = max(most, largest_renderer())
            seen.add(page.get_by_role("progressbar").get_attribute("value"))
            page.wait_for_timeout(20)
        assert len(seen) > 8  # the progress moves
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_contain_text("Upload cancelled")
        gone = lambda: api.client.get(f"/{upload}").status_code == 404  # noqa: E731
        wait_until(lambda: page.wait_for_timeout(50) or gone(), 10, "the end of the upload")
    growth = (most - before) / 1024**2
    measured(f"memory grew by {growth:.0f} MiB for {path.stat().st_size / 1024**2:.0f} MiB")
    assert growth < 100
    assert api.client.get("/jobs").json()["data"] == jobs


def largest_renderer() -> int:
    """Resident memory in bytes of the largest process that renders a page."""
    found = [0]
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if "--type=renderer" in (process / "cmdline").read_text():
                status = (process / "status").read_text()
                found += [1024 * int(kib) for kib in re.findall(r"RssAnon:\s+(\d+)", status)]
        except OSError:  # it has ended
            continue
    return max(found)


@pytest.mark.slow
def test_the_curve_goes_on_when_the_api_restarts(browser: Browser, api: OwnApi) -> None:
    epochs, given = 200, {"cat/0.png": "cat", "dog/0.png": "dog"}
    job_id = api.post(archive_of(given))
    history = [
        {"epoch": n, "loss": 1 / n, "train_accuracy": 0.5, "suppressed": 0.1, "lr": 0.01}
        for n in range(1, epochs + 1)
    ]
    drawn = """addEventListener("DOMContentLoaded", () => {
      window.drawn = [];
      const look = () => {
        const label = document.querySelector(".curve")?.getAttribute("aria-label") ?? "";
        const count = Number(/of (\\d+)/.exec(label)?.[1] ?? 0);
        if (count && count !== drawn.at(-1)?.[0]) drawn.push([count, Date.now() / 1000]);
      };
      const everything = {subtree: true, attributes: true, childList: true};
      new MutationObserver(look).observe(document, everything);
    })"""
    with window(browser, api.address, expected=CUT) as opened:
        page = opened.new_page()
        page.add_init_script(drawn)
        page.goto(f"/ui/#/jobs/{job_id}")
        expect(page.get_by_text("no worker is running. Start one with")).to_be_visible()
        lease = api.take(job_id, 2, ["cat", "dog"])
        reported: list[float] = []

        def report(count: int) -> None:
            """Report so many epochs, twenty a second."""
            for _ in range(count):
                start, metrics = time.time(), history[len(reported)]
                progress = {"stage": "tuning", "epoch": metrics["epoch"], "epochs": epochs}
                lease.report([("metrics", metrics)], progress=progress, warnings=[])
                reported.append(time.time())
                page.wait_for_timeout(max(0.0, 1000 * (start + 0.05 - time.time())))

        report(100)
        label = page.get_by_role("img", name=re.compile("Curves of"))
        expect(label).to_have_accessible_name(re.compile("Curves of 100 epochs"))
        late = []
        for count, moment in page.evaluate("drawn"):
            late.append(moment - reported[count - 1])
        api.stop()
        expect(page.get_by_text("The connection was lost")).to_be_visible()
        report(50)
        api.start()
        report(50)
        whole = f"Curves of {epochs} epochs; the last has a loss of {1 / epochs:.3f}"
        expect(label).to_have_accessible_name(re.compile(whole), timeout=30_000)
        expect(page.get_by_text("The connection was lost")).to_have_count(0)
        counts = [count for count, _ in page.evaluate("drawn")]
        assert counts == sorted(counts)
        page.reload()
        expect(label).to_have_accessible_name(re.compile(whole))
        succeed(lease, given, {"history": history})
        expect(page.locator(".title .badge")).to_have_text("succeeded")
        expect(label).to_have_accessible_name(re.compile(whole))
    late.sort()
    measured(f"points drawn within {late[len(late) // 2]:.2f} s, at most {late[-1]:.2f} s")
    assert len(late) > 2  # while the epochs came
    assert late[int(len(late) * 0.95)] < 1 or not DEEP


@pytest.mark.slow
def test_a_failed_job_lists_every_problem_and_is_retried(browser: Browser, api: OwnApi) -> None:
    job_id = api.post(archive_of({"cat/0.png": "cat", "dog/0.png": "dog"}))
    problems = [
        {"code": "not_an_image", "where": "cat/0.png", "message": "not an image"},
        {"code": "empty_class", "where": "dog", "message": "no readable image"},
        {"code": "too_few", "where": "", "message": "fewer than two classes"},
    ]
    error = {"code": "invalid_dataset", "message": "3 problems", "param": None}
    claim(api.context, job_id).fail({**error, "problems": problems})
    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.goto(f"/ui/#/jobs/{job_id}")
        for problem in problems:
            row = page.get_by_role("row", name=problem["where"] or "whole data set")
            expect(row.first).to_contain_text(problem["message"])
        expect(page.get_by_role("main")).not_to_contain_text("[object")
        check_accessible(page, "failed job")
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_text("no worker is running")).to_be_visible()
    assert api.client.get(f"/jobs/{job_id}").json()["status"] == "queued"


@pytest.mark.slow
def test_a_zip_is_read_before_it_is_sent(browser: Browser, api: OwnApi, tmp_path: Path) -> None:
    files = photos("apple", "lime", count=5, folder="train/")
    files |= {"kiwi/0.tif": photo("kiwi", 0, "TIFF")}  # which browsers do not show
    files |= {"test/plum/1.png": photo("plum", 0), "train/lime/empty.png": b"", "notes.md": b"x"}
    (tmp_path / "fruit.zip").write_bytes(zipped({f"fruit/{name}": files[name] for name in files}))
    (tmp_path / "cut.zip").write_bytes((tmp_path / "fruit.zip").read_bytes()[:-100])
    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.goto("/ui/#/new")
        page.get_by_label("Choose a zip").set_input_files(tmp_path / "cut.zip")
        expect(page.get_by_role("alert")).to_contain_text("its end is missing")
        page.get_by_role("button", name="Choose other photos").click()
        page.get_by_label("Choose a zip").set_input_files(tmp_path / "fruit.zip")
        expect(page.get_by_text("13 photos in 4 classes")).to_be_visible()
        sample = page.get_by_role("img", name="A photo of lime")
        expect(sample).to_have_js_property("naturalWidth", 48)
        expect(page.get_by_text("kiwi: this browser cannot show it")).to_be_visible()
        for problem in (
            "1 class without training photos",
            "1 class with fewer than 4 training photos",
            "1 photo without content",
            "1 file will be left out",
        ):
            expect(page.get_by_text(problem)).to_be_visible()
        for summary in ("Settings", "Words of the classes"):
            page.locator("summary", has_text=summary).click()
        page.get_by_label("lime", exact=True).fill("green lime")
        check_accessible(page, "before sending")
        page.get_by_role("button", name="Send and tune").click()
        page.wait_for_url("**/ui/#/jobs/job_*")
        job = api.client.get(f"/jobs/{page.url.rpartition('/')[2]}").json()
    assert (job["name"], job["class_names"]) == ("fruit", {"lime": "green lime"})


@pytest.mark.slow
def test_photos_of_production_are_labelled_and_tuned_with(browser: Browser, api: OwnApi) -> None:
    job_id = api.finished({"cat/0.png": "cat", "dog/0.png": "dog"})
    model_id = api.client.get(f"/jobs/{job_id}").json()["model_id"]
    ids = test_feedback.keep(api.context, model_id, [0.5, 0.1, 0.9], photo("lime", 0))
    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.goto(f"/ui/#/models/{model_id}")
        expect(page.get_by_text("3 of the 30 that are needed")).to_be_visible()
        page.get_by_role("link", name="Photos to label next").click()
        expect(page.locator(".grid img")).to_have_count(3)  # those that teach the most
        page.get_by_label("Order").select_option("The least certain first")
        expect(page.locator(".grid img")).to_have_count(3)
        expect(page.locator(".grid img").first).to_have_attribute("alt", "1.png")
        expect(page.locator(".grid img").first).to_have_js_property("naturalWidth", 48)
        check_accessible(page, "photos to label")
        page.get_by_role("button", name="Right").first.press("Enter")
        page.get_by_label("Class of 0.png").select_option("dog")
        expect(page.get_by_text("2 labelled")).to_be_visible()
        page.get_by_role("button", name="Next photos").click()
        expect(page.locator(".grid img")).to_have_count(1)
        page.get_by_role("button", name="Tune again with the labelled photos").click()
        page.wait_for_url("**/ui/#/jobs/job_*")
        expect(page.locator(".title .badge")).to_have_text("queued")
        job = api.client.get(f"/jobs/{page.url.rpartition('/')[2]}").json()
        dataset = api.client.get(f"/datasets/{job['dataset']['id']}").json()
        assert (dataset["version"] > 1, dataset["images"]) == (True, 4)
        api.client.post(f"/jobs/{job['id']}/cancel").raise_for_status()
    found = [api.client.get(f"/predictions/{each}").json()["label"] for each in ids]
    assert found == ["dog", "cat", None]


@pytest.mark.slow
def test_views_have_addresses_and_say_what_is_not_there(browser: Browser, api: OwnApi) -> None:
    job_id = api.finished({"cat/0.png": "cat", "dog/0.png": "dog"})
    dataset = httpx.get(f"{api.address}/jobs/{job_id}").json()["dataset"]["id"]
    # The job of this test made no report of its photos.
    with window(browser, api.address, expected="status of 40[49]") as opened:
        page = opened.new_page()
        for address, text in (
            (f"jobs/{job_id}/health", "report"),
            (f"datasets/{dataset}", "report"),
            ("jobs/job_01/review", "There is no job"),
            ("nothing", "There is no such page"),
            (f"jobs/{job_id}/nothing", "There is no such page"),
        ):
            page.goto(f"/ui/#/{address}")
            expect(page.get_by_role("main")).to_contain_text(text)


def test_the_dialog_that_deletes_a_job_says_which_photos_stay(
    browser: Browser, api: OwnApi
) -> None:
    # Of no other test here: the same photos are one data set.
    alone = api.finished({"cat/8.png": "cat", "dog/8.png": "dog"})
    given = {"cat/9.png": "cat", "dog/9.png": "dog"}
    uploaded = api.client.post("/datasets", files={"dataset": ("pets.zip", archive_of(given))})
    of_a_dataset = api.finished(given)
    with window(browser, api.address) as opened:
        page = opened.new_page()
        for job_id, status in ((alone, 404), (of_a_dataset, 200)):
            dataset = api.client.get(f"/jobs/{job_id}").json()["dataset"]["id"]
            page.goto(f"/ui/#/jobs/{job_id}")
            page.get_by_role("button", name="Delete ...").click()
            dialog = page.get_by_role("dialog")
            expect(dialog).to_contain_text("Its photos are deleted with the last job on them")
            expect(dialog).to_contain_text("uploaded as a data set, or with more than 32 MB, stay")
            dialog.get_by_role("button", name="Delete").click()
            page.wait_for_url("**/ui/#/jobs")
            assert api.client.get(f"/datasets/{dataset}").status_code == status
    assert dataset == uploaded.json()["id"]


def test_without_a_tuned_prompt_nothing_is_called_tuned(browser: Browser, api: OwnApi) -> None:
    kinds = {"zero_shot": 0.75, "prompt": 0.75, "tuned": 0.5}
    metrics = {
        kind: {"accuracy": share, "accuracy_interval": [share, share]}
        for kind, share in kinds.items()
    } | {"served": "zero_shot"}
    given = {"cat/2.png": "cat", "dog/2.png": "dog"}
    plain, tuned = (api.finished(given, metrics, {"tuning": kind}) for kind in ("none", "prompt"))
    with window(browser, api.address) as opened:
        page = opened.new_page()
        names = page.locator("tbody th")
        page.goto(f"/ui/#/jobs/{plain}")
        expect(names).to_have_text(["CLIP alone served", "CLIP with class means"])
        page.goto(f"/ui/#/jobs/{tuned}")
        expect(names).to_have_text(["CLIP without tuning served", "Tuned prompt alone", "Tuned"])
        page.goto("/ui/#/jobs")
        # The list has the accuracy of what is served.
        expect(page.locator(f'a[href="#/jobs/{plain}"]')).to_contain_text("75.0 % right")
