"""The page in a browser: from a dropped folder to corrected labels and a model in use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.photos import COLOURS, photo, photos
from tests.acceptance.service import Json, get_job
from tests.acceptance.web.conftest import (
    by_tab,
    check,
    check_accessible,
    enter,
    measured,
)
from tests.depth import DEEP
from tests.services import wait_until

#: A job of two epochs still encodes, measures and audits.
JOB_MS = 120_000
#: The first prediction of a service loads its image tower.
PREDICT_MS = 60_000
#: Close a dialog, open the next, and press a key, before the browser paints or reports the end of
#: the first. Gives the element that the key went to.
NEXT_KEY_AT_ONCE = """async () => {
    const press = (key) => document.activeElement.dispatchEvent(
        new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    document.querySelector("dialog").close();
    press("/");
    await Promise.resolve();
    press("k");
    return document.activeElement.tagName;
}"""
#: Events of the browser by which photos are given -> the field that has them.
_GIVEN = {"drop": "dataTransfer", "paste": "clipboardData"}
_GIVE = """([kind, field, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], `${kind}.png`, {type: "image/png"}));
    const Kind = kind === "drop" ? DragEvent : ClipboardEvent;
    document.querySelector(".drop").dispatchEvent(
        new Kind(kind, {[field]: data, bubbles: true, cancelable: true}));
}"""
#: What would move for a person who wants less motion.
_MOVES = """[...document.querySelectorAll("*")].filter((each) => {
    const style = getComputedStyle(each);
    return style.animationName !== "none" || style.transitionDuration !== "0s"
        || style.scrollBehavior === "smooth";
}).map((each) => each.outerHTML.slice(0, 80)).concat(
    document.getAnimations().map(() => "an animation"))"""
_CHANGED_PHOTOS = """[...document.images].filter((each) => {
    const {filter, mixBlendMode, opacity} = getComputedStyle(each);
    return filter !== "none" || mixBlendMode !== "normal" || opacity !== "1";
}).map((each) => each.alt)"""
#: On a phone first: the window then grows to this width.
THEMES: dict[Literal["dark", "light"], int] = {"dark": 360, "light": 1100}
EVERY_PAGE = (
    "jobs",
    "new",
    "jobs/{job}",
    "jobs/{job}/review",
    "jobs/{job}/matrix?label=lime&predicted=lime",
    "jobs/{job}/difference",
    "jobs/{job}/health",
    "compare",
    "batches",
    "service",
    "keys",
    "datasets/{dataset}",
    "models",
    "models/{model}",
    "models/{model}/label",
)


def folder_of(tmp_path: Path) -> Path:
    """Four classes; one photo in each is of another class."""
    files = photos(*COLOURS, count=8, folder="train/")
    files |= photos(*COLOURS, count=4, folder="test/", first_seed=100)
    names = [*COLOURS, next(iter(COLOURS))]
    for name, other in pairwise(names):
        files[f"train/{name}/wrong.png"] = photo(other, 50)
    for path, content in files.items():
        target = tmp_path / "fruit" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (tmp_path / "fruit" / "notes.md").write_text("not a photo")
    return tmp_path / "fruit"


def until_succeeded(page: Page) -> str:
    """Wait for the job that the page shows; return its id."""
    expect(page.locator(".title .badge")).to_have_text("succeeded", timeout=JOB_MS)
    return page.url.rpartition("/")[2]


@pytest.mark.slow
def test_from_a_folder_to_corrected_labels_by_keyboard(
    page: Page, service: httpx.Client, tmp_path: Path
) -> None:
    page.goto("/")
    expect(page).to_have_url(re.compile("/ui/$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    enter(page, page.get_by_role("link", name="New job"))

    # What will be sent is shown before anything is sent.
    with page.expect_file_chooser() as chooser:
        enter(page, page.get_by_label("Choose a folder"))
    chooser.value.set_files(folder_of(tmp_path))
    expect(page.get_by_text("52 photos in 4 classes")).to_be_visible()
    expect(page.get_by_text("1 file will be left out")).to_be_visible()
    enter(page, page.locator("summary", has_text="Settings"))
    by_tab(page, page.get_by_label("Epochs"))
    page.keyboard.type("2")
    enter(page, page.get_by_role("button", name="Send and tune"))

    # The job is followed without a reload, and has its curves at the end.
    page.wait_for_url("**/ui/#/jobs/job_*")
    job_id = until_succeeded(page)
    expect(page.get_by_role("img", name="Curves of 2 epochs")).to_be_visible()
    accuracy = get_job(service, job_id)["metrics"]["tuned"]["accuracy"]
    expect(page.get_by_role("row", name="Tuned served")).to_contain_text(f"{100 * accuracy:.1f}")

    # The review: one verdict of each kind, undone and redone, by keys alone.
    enter(page, page.get_by_role("link", name="Review the labels"))
    audit = service.get(f"/jobs/{job_id}/audit", params={"suspect": True}).json()
    suspects = [entry["file"] for entry in audit["entries"]]
    assert len(suspects) >= 3
    expect(page.locator(".gallery img").first).to_have_js_property("complete", True)
    for key in "akd":
        page.keyboard.press(key)
    expect(page.get_by_text(f"3 of {len(suspects)} checked")).to_be_visible()
    for _ in range(3):
        page.keyboard.press("u")
    expect(page.get_by_text(f"0 of {len(suspects)} checked")).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Shift+U")
    expect(page.get_by_role("button", name="Tune again")).to_be_enabled()
    found = service.get(f"/jobs/{job_id}/review").json()["verdicts"]
    assert [found[file]["action"] for file in suspects[:3]] == ["relabel", "keep", "drop"]
    assert found[suspects[0]]["label"] == audit["entries"][0]["suggested"]
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Accept the suggestion")
    # A key that follows at once already belongs to the field, where no key is a verdict.
    assert page.evaluate(NEXT_KEY_AT_ONCE) == "INPUT"
    expect(page.get_by_role("dialog")).to_contain_text("Choose a class")
    page.keyboard.type("ak")
    expect(page.get_by_text(f"3 of {len(suspects)} checked")).to_be_visible()
    page.keyboard.press("Escape")

    # The corrections, and what they changed.
    enter(page, page.get_by_role("button", name="Tune again"))
    for text in ("1 label changed", "1 photo dropped", "1 label confirmed"):
        expect(page.get_by_role("dialog")).to_contain_text(text)
    enter(page, page.get_by_role("button", name="Start the job"))
    page.wait_for_url(lambda url: "/review" not in url)
    corrected = get_job(service, until_succeeded(page))
    made = corrected["dataset"]["corrections"]
    assert (made["relabelled"], made["dropped"], made["kept"]) == (1, 1, 1)
    again = service.get(f"/jobs/{corrected['id']}/audit", params={"suspect": True}).json()
    assert suspects[1] not in [entry["file"] for entry in again["entries"]]

    # The difference has the figures of the comparison of both models, and a photo of each flip.
    enter(page, page.get_by_role("link", name="What changed"))
    change = corrected["change"]
    expect(page.get_by_role("main")).to_contain_text(change["verdict"])
    models = {"a": get_job(service, job_id)["model_id"], "b": corrected["model_id"]}
    compared = service.post("/models/compare", json=models).json()
    for name, side in (("Before", "a"), ("After", "b")):
        figures = f"{100 * compared[side]['accuracy']:.1f}"
        expect(page.get_by_role("row", name=name)).to_contain_text(figures)
    assert change["difference"] == pytest.approx(compared["difference"])
    flips = page.locator(".grid img")
    expect(flips).to_have_count(len(change["gained"]) + len(change["lost"]))
    for number in range(flips.count()):
        flips.nth(number).scroll_into_view_if_needed()
        expect(flips.nth(number)).not_to_have_js_property("naturalWidth", 0)

    # The model: try it with files and with the camera, promote it and roll back.
    service.patch(f"/models/{get_job(service, job_id)['model_id']}", json={"alias": "page-test"})
    page.goto(f"/ui/#/models/{corrected['model_id']}")
    page.get_by_label("Beside").select_option(get_job(service, job_id)["model_id"])
    page.get_by_label("Choose photos").set_input_files(
        [
            {"name": "a.png", "mimeType": "image/png", "buffer": photo("lime", 500)},
            {"name": "b.png", "mimeType": "image/png", "buffer": b"no photo"},
        ]
    )
    expect(page.locator(".tried").first).to_contain_text("Without tuning", timeout=PREDICT_MS)
    expect(page.locator(".tried").first).to_contain_text("The other model")
    expect(page.locator(".tried").nth(1)).to_contain_text("not an image")
    photo_size, placeholder_size = (
        page.locator(kind).evaluate("one => [one.offsetWidth, one.offsetHeight]")
        for kind in (".tried img", ".tried .no-picture")
    )
    assert placeholder_size == photo_size
    for number, (kind, field) in enumerate(_GIVEN.items(), start=3):
        page.evaluate(_GIVE, [kind, field, b64encode(photo("lime", 600 + number)).decode()])
        expect(page.locator(".tried")).to_have_count(number)
    page.get_by_role("button", name="Use the camera").press("Enter")
    expect(page.get_by_label("Camera")).to_have_js_property("paused", False)
    page.get_by_role("button", name="Take a photo").press("Enter")
    expect(page.locator(".tried")).to_have_count(5)
    expect(page.locator(".tried").first).to_contain_text("This model:")
    page.get_by_role("button", name="Stop the camera").press("Enter")
    expect(page.get_by_label("Camera")).to_have_count(0)
    by_tab(page, page.get_by_label("Alias"))
    page.keyboard.press("Control+A")
    page.keyboard.type("page-test")
    enter(page, page.get_by_role("button", name="Promote ..."))
    for model in models.values():
        expect(page.get_by_role("dialog")).to_contain_text(model)
    check_accessible(page, "promote")
    enter(page, page.get_by_role("dialog").get_by_role("button", name="Promote"))
    expect(page.get_by_text("Moves of page-test")).to_be_visible()
    expect(page.get_by_role("row", name=corrected["model_id"])).to_be_visible()
    assert service.get("/aliases/page-test").json()["model_id"] == corrected["model_id"]

    # The snippets are run as they stand.
    (tmp_path / "photo.jpg").write_bytes(photo("lime", 501, "JPEG"))
    texts = page.locator(".snippet").all_inner_texts()
    assert len(texts) == 3
    for text, command in zip(
        texts, (["sh", "-c"], [sys.executable, "-c"], ["sh", "-c"]), strict=True
    ):
        run = subprocess.run(
            [*command, text],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        assert "lime" in run.stdout, f"{text}\n{run.stdout}{run.stderr}"

    # Both models on the same photos.
    page.goto(f"/ui/#/compare?a={get_job(service, job_id)['model_id']}&b={corrected['model_id']}")
    expect(page.get_by_role("row", name="B:")).to_be_visible(timeout=PREDICT_MS)
    expect(page.get_by_role("heading", name="Only B is right")).to_be_visible()

    page.goto(f"/ui/#/models/{corrected['model_id']}")
    page.get_by_label("Alias").fill("page-test")
    page.get_by_role("button", name="Roll back").press("Enter")
    expect(page.get_by_role("button", name="Promote ...")).to_be_enabled()
    target = service.get("/aliases/page-test").json()["model_id"]
    assert target == get_job(service, job_id)["model_id"]


@pytest.mark.slow
def test_every_page_is_accessible_and_fits(page: Page, tuned: Json) -> None:
    page.emulate_media(reduced_motion="reduce")
    for pattern in EVERY_PAGE:
        ids = {"job": tuned["id"], "dataset": tuned["dataset"]["id"], "model": tuned["model_id"]}
        page.set_viewport_size({"width": 360, "height": 740})
        page.goto(f"/ui/#/{pattern.format(**ids)}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading ...")).to_have_count(0)
        for theme, width in THEMES.items():
            page.emulate_media(color_scheme=theme)
            page.set_viewport_size({"width": width, "height": 740})
            check(page, f"{pattern}, {theme}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, pattern
            assert page.evaluate(_MOVES) == [], pattern
            assert page.evaluate(_CHANGED_PHOTOS) == [], pattern


@pytest.mark.slow
def test_each_number_of_the_matrix_opens_its_photos(page: Page, tuned: Json) -> None:
    page.goto(f"/ui/#/jobs/{tuned['id']}/matrix")
    links = page.locator(".matrix td a")
    expect(links.first).to_be_visible()
    counts = [int(text) for text in links.all_inner_texts()]
    metrics = tuned["metrics"]
    confusion = metrics[metrics["served"]]["confusion"]
    assert counts == [n for row in confusion for n in row if n]
    for position, n in enumerate(counts):
        links.nth(position).press("Enter")
        expect(page.locator(".grid img")).to_have_count(n)
        expect(links.nth(position)).to_have_attribute("aria-current", "true")


@pytest.mark.slow
def test_bad_photos_are_listed_by_file(page: Page, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "pets" / name / f"{number}.jpg").write_bytes(b"no photo")
    page.goto("/ui/#/new")
    page.get_by_label("Choose a folder").set_input_files(tmp_path / "pets")
    page.get_by_role("button", name="Send and tune").press("Enter")
    expect(page.locator(".title .badge")).to_have_text("failed", timeout=JOB_MS)
    expect(page.get_by_role("alert")).to_contain_text("0.jpg: not an image")
    expect(page.get_by_role("row", name="dog")).to_contain_text("no readable image")
    expect(page.get_by_role("main")).not_to_contain_text("[object")


@pytest.mark.slow
def test_no_prediction_fails_while_an_alias_moves_and_is_rolled_back(
    page: Page, service: httpx.Client, tuned: Json
) -> None:
    old = tuned["model_id"]
    new = service.post(f"/models/{old}/classes", json={"classes": {"plum": None}}).json()["id"]
    service.put("/aliases/busy", json={"model": old}).raise_for_status()
    answers: list[httpx.Response] = []
    over = threading.Event()

    def ask() -> None:
        """Several predictions a second, as far as the machine can."""
        with httpx.Client(base_url=service.base_url, timeout=60) as client:
            while not over.wait(0.1 if DEEP else 0.4):
                files = {"images": ("a.png", photo("lime", 7))}
                answers.append(client.post("/predict", data={"model": "busy"}, files=files))

    def answered_by(model: str) -> None:
        start = len(answers)
        wait_until(
            lambda: (
                page.wait_for_timeout(50)
                or model in [each.json().get("model") for each in answers[start:]]
            ),
            60,
            f"an answer of {model}",
        )

    with ThreadPoolExecutor(4) as threads:
        start = time.monotonic()
        asking = [threads.submit(ask) for _ in range(4)]
        try:
            answered_by(old)
            page.goto(f"/ui/#/models/{new}")
            page.get_by_label("Alias").fill("busy")
            page.get_by_role("button", name="Promote ...").click()
            for model in (old, new):
                expect(page.get_by_role("dialog")).to_contain_text(model)
            page.get_by_label("Photos to keep").select_option("10\u00a0%")
            page.get_by_role("dialog").get_by_role("button", name="Promote").click()
            answered_by(new)
            assert service.get("/aliases/busy").json()["capture"] == 0.1
            page.get_by_role("button", name="Roll back").click()
            answered_by(old)
            page.set_viewport_size({"width": 360, "height": 740})  # the ids of models are long
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        finally:
            over.set()
        for each in asking:
            each.result()
    assert [each.status_code for each in answers] == [200] * len(answers)
    assert {each.json()["model"] for each in answers} == {old, new}
    rate = len(answers) / (time.monotonic() - start)
    measured(f"{len(answers)} predictions while the alias moved, {rate:.0f} a second")
