"""The review of 10,000 suspects: how fast it is, and several people at once. No worker runs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.photos import encoded, zipped
from tests.acceptance.web.conftest import check_accessible, measured, window
from tests.acceptance.web.own_api import OwnApi, own_api
from tests.services import wait_until

SUSPECTS = 10_000
FIRST_PHOTO_MS = 1000
KEYS = 40
KEYS_A_SECOND = 30
ACTIONS = {"a": "relabel", "k": "keep", "d": "drop"}
#: Measures the time to the first photo of a view, and from each key to its paint.
_WATCH = """
window.found = {keys: []};
window.firstPhoto = (hash) => new Promise((resolve) => {
  const start = performance.now();
  const look = () => {
    const photo = document.querySelector(".gallery img");
    if (photo?.complete && photo.naturalWidth) resolve(performance.now() - start);
    else requestAnimationFrame(look);
  };
  location.hash = hash;
  look();
});
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (one.name === "keydown") found.keys.push(one.duration);
}).observe({type: "event", durationThreshold: 16});
"""
#: Bytes of photos that came over the network.
_FETCHED = """performance.getEntriesByType("resource")
  .filter((one) => one.name.includes("/images/"))
  .reduce((sum, one) => sum + one.transferSize, 0)"""
#: Seconds to load so many photos of a data set.
_THUMBNAILS = """async ([images, count]) => {
  const start = performance.now();
  await Promise.all(Array.from({length: count}, (_, number) => new Promise((resolve, reject) => {
    const photo = new Image();
    photo.onload = resolve;
    photo.onerror = reject;
    photo.src = `..${images}/${number}?size=192`;
  })));
  return (performance.now() - start) / 1000;
}"""
#: Number of frames while the gallery is scrolled for a second.
_SCROLL = """() => new Promise((resolve) => {
  let frames = 0;
  const start = performance.now();
  const step = (now) => {
    scrollBy(0, 120);
    frames++;
    if (now - start < 1000) requestAnimationFrame(step);
    else resolve(frames);
  };
  requestAnimationFrame(step);
})"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnApi]:
    with own_api(tmp_path_factory.mktemp("review")) as opened:
        yield opened


@pytest.fixture(scope="module")
def files() -> list[str]:
    return [f"{name}/{number}.png" for number in range(SUSPECTS // 2) for name in ("cat", "dog")]


@pytest.fixture(scope="module")
def job_id(api: OwnApi, files: list[str]) -> str:
    return api.finished({file: file[:3] for file in files})


def main_thread(page: Page) -> Callable[[], float]:
    """Return what returns the CPU time of the page's main thread, in ms.

    It is the same on a busy machine.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def read() -> float:
        found = session.send("Performance.getMetrics")["metrics"]
        return next(1000 * one["value"] for one in found if one["name"] == "TaskDuration")

    return read


@pytest.mark.slow
def test_many_suspects_are_reviewed_as_fast_as_keys_are_pressed(
    browser: Browser, api: OwnApi, job_id: str, files: list[str]
) -> None:
    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.add_init_script(_WATCH)
        first: list[float] = []
        # Other processes may have the CPU for a while; the best of three is the page's own time.
        while len(first) < 3 and min(first, default=math.inf) >= FIRST_PHOTO_MS:
            page.goto("about:blank")
            page.goto(f"/ui/#/jobs/{job_id}")
            expect(page.get_by_role("heading", level=1)).to_have_text("pets")
            first.append(page.evaluate("hash => firstPhoto(hash)", f"/jobs/{job_id}/review"))
        expect(page.locator(".gallery li").first).to_have_attribute("aria-setsize", str(SUSPECTS))
        assert min(first) < FIRST_PHOTO_MS, first
        busy = main_thread(page)
        before = busy()
        frames = page.evaluate(_SCROLL)
        frame_ms = (busy() - before) / frames
        assert page.locator(".gallery li").count() <= 300
        page.evaluate("scrollTo(0, 0)")
        assert frame_ms < 20, frame_ms  # 50 frames a second

        before = busy()
        start = time.monotonic()
        for number in range(KEYS):
            page.wait_for_timeout(
                max(0.0, 1000 * (start + number / KEYS_A_SECOND - time.monotonic()))
            )
            page.keyboard.press("akd"[number % 3])
        expect(page.get_by_text(f"{KEYS} of {SUSPECTS} checked")).to_be_visible()
        expect(page.get_by_role("button", name="Tune again")).to_be_enabled()  # all are saved
        events = api.client.get(f"/jobs/{job_id}/review/history?limit=1000").json()["data"]
        assert [(each["file"], each["verdict"]["action"]) for each in events] == [
            (file, ACTIONS["akd"[number % 3]]) for number, file in enumerate(files[:KEYS])
        ]
        key_ms = (busy() - before) / KEYS
        # Paints within 16 ms are not reported.
        paints = sorted([0.0] * KEYS + page.evaluate("found.keys"))[-KEYS:]
        measured(
            f"first photo {min(first):.0f} ms, {frames} frames in a second of {frame_ms:.1f} ms "
            f"each; {key_ms:.1f} ms for a key, painted within "
            f"{statistics.median(paints):.0f} ms, p95 {paints[int(KEYS * 0.95)]:.0f} ms"
        )
        assert key_ms < 1000 / KEYS_A_SECOND

    # The window is closed; another browser goes on at the same photo.
    with window(browser, api.address) as another:
        page = another.new_page()
        page.goto(f"/ui/#/jobs/{job_id}/review")
        expect(page.get_by_text(f"{KEYS} of {SUSPECTS} checked")).to_be_visible()
        expect(page).to_have_url(f"{api.address}/ui/#/jobs/{job_id}/review?at={KEYS}")
        expect(page.locator(".suspect.current img")).to_have_attribute(
            "alt", files[KEYS].partition("/")[2]
        )
        # One key for all photos, which are more than the service takes in one request.
        expect(page.locator(".gallery li").first).to_have_attribute("aria-setsize", str(SUSPECTS))
        page.keyboard.press("Control+a")
        page.keyboard.press("k")
        expect(page.get_by_text(f"{SUSPECTS} of {SUSPECTS} checked")).to_be_visible()
        expect(page.get_by_role("button", name="Tune again")).to_be_enabled(timeout=60_000)
        expect(page.get_by_role("alert")).to_have_count(0)
    counts = api.client.get(f"/jobs/{job_id}/review").json()["counts"]
    assert counts == {"keep": SUSPECTS, "relabel": 0, "drop": 0}


@pytest.mark.slow
def test_dialogs_are_accessible_and_all_photos_can_be_reviewed(
    browser: Browser, api: OwnApi
) -> None:
    job_id = api.finished({f"{name}/{n}.png": name for name in ("cat", "dog") for n in range(3)})
    with window(browser, api.address) as opened:
        page = opened.new_page()
        for fetched in (True, False):  # the second time all photos are in the browser's cache
            page.goto("about:blank")
            page.goto(f"/ui/#/jobs/{job_id}/review")
            expect(page.get_by_text("0 of 6 checked")).to_be_visible()
            photos = page.locator(".gallery img")
            expect(photos).to_have_count(6)
            for number in range(6):  # one that is still on its way is not in the cache
                expect(photos.nth(number)).to_have_js_property("naturalWidth", 48)
            assert (page.evaluate(_FETCHED) > 0) == fetched
        for key, text in (("?", "Undo"), ("/", "Choose a class"), (" ", "probability that the")):
            page.keyboard.press(key)
            expect(page.get_by_role("dialog")).to_contain_text(text)
            check_accessible(page, f"dialog of {key}")
            page.keyboard.press("Escape")
        page.keyboard.press("k")
        page.get_by_role("button", name="Tune again").click()
        expect(page.get_by_role("dialog")).to_contain_text("1 label confirmed")
        check_accessible(page, "tune again")
        page.keyboard.press("Escape")
        page.get_by_label("Photos", exact=True).select_option("All training photos")
        page.get_by_label("Class", exact=True).select_option("dog")
        expect(page.locator(".gallery li")).to_have_count(3)
        page.keyboard.press("Control+a")
        page.keyboard.press("d")
        expect(page.get_by_text("4 of 6 checked")).to_be_visible()
        # A job is deleted after a question only.
        page.goto(f"/ui/#/jobs/{job_id}")
        page.get_by_role("button", name="Delete").click()
        check_accessible(page, "delete")
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    assert api.client.get(f"/jobs/{job_id}").status_code == 404


@pytest.mark.slow
def test_two_people_see_the_verdicts_of_each_other(browser: Browser, api: OwnApi) -> None:
    given = {f"cat/{number}.png": "cat" for number in range(4)}
    job_id = api.finished({**given, "dog/0.png": "dog"})
    with window(browser, api.address) as one, window(browser, api.address) as two:
        pages = [each.new_page() for each in (one, two)]
        for page in pages:
            page.goto(f"/ui/#/jobs/{job_id}/review?at=1")
            expect(page.get_by_text("0 of 5 checked")).to_be_visible()

        def waited(page: Page, key: str, other: Page, text: str) -> float:
            """Seconds from a key in one window to the verdict in the other."""
            page.keyboard.press(key)
            start = time.monotonic()
            card = other.locator(".gallery li").nth(1)
            expect(card.locator(".verdict")).to_have_text(text)
            return time.monotonic() - start

        first, second = pages
        times = [waited(first, "d", second, "Dropped")]
        # Both decide on the same photo: the newer verdict counts, and both see it.
        second.goto(f"/ui/#/jobs/{job_id}/review?at=1")
        times.append(waited(second, "k", first, "Kept"))
        first.keyboard.press("ArrowLeft")
        times.append(waited(first, "Delete", second, ""))
        measured(
            f"seen by the other after {statistics.median(times):.1f} s, at most {max(times):.1f}"
        )
        assert statistics.median(times) < 2, times
    assert api.client.get(f"/jobs/{job_id}/review").json()["verdicts"] == {}


@pytest.mark.slow
def test_the_keys_do_what_their_list_says_and_nothing_in_a_field(
    browser: Browser, api: OwnApi
) -> None:
    given = {f"{name}/{n}.png": name for name in ("cat", "dog") for n in range(2)}
    job_id = api.finished(given)

    def verdicts() -> dict[str, tuple[str, str | None]]:
        found = api.client.get(f"/jobs/{job_id}/review").json()["verdicts"]
        return {file: (each["action"], each["label"]) for file, each in found.items()}

    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.goto(f"/ui/#/jobs/{job_id}/review")
        expect(page.get_by_text("0 of 4 checked")).to_be_visible()
        saved = page.get_by_role("button", name="Tune again")
        dialog = page.get_by_role("dialog")
        tried: set[str] = set()

        def press(shown: str, *keys: str) -> None:
            tried.add(shown)
            for key in keys:
                page.keyboard.press(key)
            expect(saved).to_be_enabled()

        def decided(*expected: tuple[str, str | None]) -> None:
            wait_until(
                lambda: (
                    page.wait_for_timeout(50)
                    or verdicts() == dict(zip(given, expected, strict=False))
                ),
                15,
                f"the verdicts {expected}",
            )

        press("A", "a")
        decided(("relabel", "dog"))
        press("K", "k")
        decided(("relabel", "dog"), ("keep", None))
        press("D", "d")
        decided(("relabel", "dog"), ("keep", None), ("drop", None))
        press("1 to 9", "1")
        all_four = (("relabel", "dog"), ("keep", None), ("drop", None), ("relabel", "cat"))
        decided(*all_four)
        press("Delete", "Delete")
        decided(*all_four[:3])
        press("U or Ctrl+Z", "u", "Control+z")
        decided(*all_four[:3])
        press("Shift+U or Ctrl+Y", "Shift+U")
        decided(*all_four)
        press("Shift+U or Ctrl+Y", "Control+y")
        decided(*all_four[:3])
        current = page.locator(".suspect.current img")
        alts = [file.partition("/")[2] for file in given]
        press("Arrows", "ArrowLeft")
        expect(current).to_have_attribute("alt", alts[2])
        press("Arrows", "ArrowRight")
        expect(current).to_have_attribute("alt", alts[3])
        for shown, key in (("Space", " "), ("?", "?"), ("/", "/")):
            press(shown, key)
            expect(dialog).to_be_visible()
            if key == "?":
                listed = dialog.locator("kbd").all_inner_texts()
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
        press("Ctrl+A", "Control+a")
        expect(page.get_by_text("4 photos selected")).to_be_visible()
        assert sorted(listed) == sorted(tried)

        # Other keys do nothing, and no key does while a field has the focus.
        for letter in sorted(set("abcdefghijklmnopqrstuvwxyz") - set("akdu")):
            page.keyboard.press(letter)
        page.get_by_label("State", exact=True).focus()
        for key in ("a", "k", "d", "u", "1", "/", "?", "Delete", " ", "Escape"):
            page.keyboard.press(key)
        expect(dialog).to_have_count(0)
        expect(page.get_by_text("3 of 4 checked")).to_be_visible()
        decided(*all_four[:3])


@pytest.mark.slow
def test_the_focus_is_on_the_photo_that_the_next_key_is_about(
    browser: Browser, api: OwnApi
) -> None:
    given = {f"{name}/{n}.png": name for name in ("cat", "dog") for n in range(3)}
    job_id = api.finished(given)
    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.goto(f"/ui/#/jobs/{job_id}/review")
        expect(page.get_by_text("0 of 6 checked")).to_be_visible()
        photos = page.get_by_role("list", name="Photos to check")
        dialog = page.get_by_role("dialog")

        def focused(number: int) -> None:
            card = photos.get_by_role("button").nth(number)
            expect(card).to_be_focused()
            expect(card).to_have_attribute("aria-current", "true")

        # A reader hears which class is the label and which the suggestion.
        first = photos.get_by_role("button").first
        expect(first).to_have_accessible_name("0.png label cat , suggestion dog 50 % wrong")
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        page.keyboard.press("ArrowRight")
        focused(1)
        first.click()
        for number, key in enumerate("akd", start=1):
            page.keyboard.press(key)
            focused(number)
        page.keyboard.press(" ")
        expect(dialog).to_contain_text("probability that the label dog is wrong")
        page.keyboard.press("k")
        page.keyboard.press("Escape")
        focused(4)
        page.keyboard.press("/")
        page.keyboard.type("horse")
        page.keyboard.press("Enter")
        expect(dialog).to_have_count(0)
        focused(5)
        page.keyboard.press("u")
        focused(4)
        page.keyboard.press("d")
        focused(5)
        # A button that is pressed again and again keeps the focus.
        keep = page.get_by_role("toolbar").get_by_role("button", name="Keep")
        keep.click()
        expect(keep).to_be_focused()
        expect(page.get_by_text("6 of 6 checked")).to_be_visible()
        expect(page.get_by_role("button", name="Tune again")).to_be_enabled()
    found = api.client.get(f"/jobs/{job_id}/review").json()["verdicts"]
    assert [found[file]["action"] for file in given] == [
        "relabel", "keep", "drop", "keep", "drop", "keep",
    ]  # fmt: skip


@pytest.mark.slow
def test_verdicts_survive_a_cut_line_and_one_that_is_refused_stops_no_other(
    browser: Browser, api: OwnApi
) -> None:
    job_id = api.finished({f"{name}/{n}.png": name for name in ("cat", "dog") for n in range(3)})

    def verdicts() -> dict[str, str]:
        found = api.client.get(f"/jobs/{job_id}/review").json()["verdicts"]
        return {file: each["action"] for file, each in found.items()}

    lost = "Failed to load resource|ERR_INTERNET_DISCONNECTED"
    with window(browser, api.address, expected=lost) as opened:
        page = opened.new_page()
        page.goto(f"/ui/#/jobs/{job_id}/review")
        expect(page.get_by_text("0 of 6 checked")).to_be_visible()
        expect(page.get_by_role("link", name="New job")).to_be_visible()  # knows the session
        opened.set_offline(True)
        page.keyboard.press("k")
        page.keyboard.press("d")
        expect(page.get_by_role("toolbar")).to_contain_text("Not saved yet: The service does not")
        page.goto(f"{api.address}/ui/#/jobs")  # within the page, so it has no need of the network
        expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
        expect(page.get_by_text("No answer").first).to_be_visible()
        assert verdicts() == {}
        opened.set_offline(False)
        page.goto(f"{api.address}/ui/#/jobs/{job_id}/review")
        expect(page.get_by_text("2 of 6 checked")).to_be_visible()
        expect(page.get_by_role("button", name="Tune again")).to_be_enabled()
        assert verdicts() == {"cat/0.png": "keep", "cat/1.png": "drop"}

        # What the service refuses is explained, and stops nothing.
        page.keyboard.press("/")
        dialog = page.get_by_role("dialog")
        page.keyboard.type("c a/t")
        page.keyboard.press("Enter")
        expect(dialog).to_have_count(0)
        page.keyboard.press("d")
        toolbar = page.get_by_role("toolbar")
        expect(toolbar).to_contain_text("Not saved: c a/t: the name of a class must not be empty")
        expect(page.get_by_text("3 of 6 checked")).to_be_visible()
        page.keyboard.press("k")
        expect(page.get_by_text("4 of 6 checked")).to_be_visible()
        expect(toolbar).not_to_contain_text("Not saved")
        expect(page.get_by_role("button", name="Tune again")).to_be_enabled()
        assert sorted(verdicts().values()) == ["drop", "drop", "keep", "keep"]

        # A proxy that does not reach the service refuses nothing for good.
        page.route(
            "**/review?since=*", lambda route: route.fulfill(status=404, body="404 page not found")
        )
        page.keyboard.press("k")
        expect(toolbar).to_contain_text("Not saved yet: The service answered 404")
        page.unroute("**/review?since=*")
        expect(page.get_by_role("button", name="Tune again")).to_be_enabled()
        assert sorted(verdicts().values()) == ["drop", "drop", "keep", "keep", "keep"]


@pytest.mark.slow
def test_verdicts_that_were_left_behind_replace_no_newer_one_and_are_sent_in_no_other_name(
    browser: Browser, api: OwnApi
) -> None:
    job_id = api.finished({f"{name}/{n}.png": name for name in ("cat", "dog") for n in range(3)})
    address = f"/jobs/{job_id}/review"

    def actions() -> list[str]:
        found = api.client.get(address).json()["verdicts"]
        return [each["action"] for _, each in sorted(found.items())]

    def drop(file: str) -> None:
        """Drop a photo as another person."""
        newer = {"verdicts": {file: {"action": "drop"}}}
        api.client.patch(address, json=newer).raise_for_status()

    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.on("dialog", lambda asked: asked.accept())  # leave although something is not saved

        def leave(checked: int, *keys: str, at: int, arrives: str) -> None:
            """Give verdicts and leave; only requests with the option `arrives` arrive."""
            page.goto(f"/ui/#{address}?at={at}")
            expect(page.get_by_text(f"{checked} of 6 checked")).to_be_visible()
            expect(page.get_by_role("link", name="New job")).to_be_visible()  # knows the session
            page.evaluate(
                """arrives => {
                  const real = fetch, cut = () => Promise.reject(new TypeError("cut"));
                  window.fetch = (address, options) =>
                    options[arrives] ? real(address, options) : cut();
                }""",
                arrives,
            )
            for key in keys:
                page.keyboard.press(key)
            expect(page.get_by_text(f"{at + len(keys)} of 6 checked")).to_be_visible()
            page.goto("about:blank")

        def come_back(checked: int, version: int) -> None:
            page.goto(f"/ui/#{address}")
            expect(page.get_by_text(f"{checked} of 6 checked")).to_be_visible()
            expect(page.get_by_role("button", name="Tune again")).to_be_enabled()
            assert page.evaluate("sessionStorage.length") == 0
            assert api.client.get(address).json()["version"] == version

        # They arrive, but the page is gone before the answer.
        leave(0, "k", "d", at=0, arrives="keepalive")
        wait_until(lambda: actions() == ["keep", "drop"], 60, "the verdicts of the page")
        drop("cat/0.png")
        come_back(2, version=3)
        assert actions() == ["drop", "drop"]

        # They do not arrive. The first one replaces an older verdict.
        leave(2, "k", "k", "k", at=1, arrives="never")
        drop("cat/2.png")
        come_back(4, version=6)
        assert actions() == ["drop", "keep", "drop", "keep"]

        # They do not arrive, and another person signs in.
        leave(4, "k", at=4, arrives="never")
        session = {**api.client.get("/session").json(), "key_id": "key_of_another_person"}
        page.route("**/session", lambda route: route.fulfill(json=session))
        come_back(4, version=6)


@pytest.mark.slow
def test_a_phone_reviews_by_buttons_and_the_matrix_is_read_by_arrow_keys(
    browser: Browser, api: OwnApi
) -> None:
    given = {f"{name}/{n}.png": name for name in ("cat", "dog") for n in range(2)}
    side = {"accuracy": 0.5, "images": 10, "confusion": [[3, 1], [2, 4]]}
    job_id = api.finished(given, {"served": "tuned", "tuned": side})
    phone = {"width": 360, "height": 740}
    with window(browser, api.address, viewport=phone, has_touch=True) as opened:
        page = opened.new_page()
        page.goto(f"/ui/#/jobs/{job_id}/review")
        for number, button in enumerate(("dog", "Keep cat", "Drop"), start=1):
            page.get_by_role("toolbar").get_by_role("button", name=button).tap()
            expect(page.get_by_text(f"{number} of 4 checked")).to_be_visible()
        page.get_by_role("button", name="Undo").tap()
        expect(page.get_by_text("2 of 4 checked")).to_be_visible()
        page.get_by_role("button", name="Large").tap()
        expect(page.get_by_role("dialog")).to_be_visible()
        check_accessible(page, "large view on a phone")
        page.get_by_role("dialog").get_by_role("button", name="Drop").tap()
        expect(page.get_by_text("3 of 4 checked")).to_be_visible()
        page.get_by_role("button", name="Close").tap()
        assert page.evaluate("document.documentElement.scrollWidth") <= phone["width"]

        page.goto(f"/ui/#/jobs/{job_id}/matrix")
        cell = page.get_by_role("link", name="3: label cat, predicted cat")
        cell.focus()
        for key, name in (
            ("ArrowRight", "1: label cat, predicted dog"),
            ("ArrowDown", "4: label dog, predicted dog"),
            ("ArrowLeft", "2: label dog, predicted cat"),
            ("ArrowUp", "3: label cat, predicted cat"),
        ):
            page.keyboard.press(key)
            expect(page.get_by_role("link", name=name)).to_be_focused()
        page.keyboard.press("Enter")
        expect(cell).to_have_attribute("aria-current", "true")


@pytest.mark.deep
def test_sixty_thumbnails_are_made_in_a_moment(browser: Browser, api: OwnApi) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 12, 16, 3))
    files = {
        f"{name}/{number}.jpg": encoded(
            Image.fromarray(noise[number].astype(np.uint8)).resize((640, 480)), "JPEG"
        )
        for number, name in enumerate(["cat", "dog"] * 30)
    }
    made = api.client.post("/datasets", files={"dataset": ("many.zip", zipped(files))}).json()
    with window(browser, api.address) as opened:
        page = opened.new_page()
        page.goto("/ui/")
        start = time.process_time()  # of the API, which runs here; the same on a busy machine
        seconds = page.evaluate(_THUMBNAILS, [made["links"]["images"], len(files)])
        busy = time.process_time() - start
        again = page.evaluate(_THUMBNAILS, [made["links"]["images"], len(files)])
        assert page.evaluate(_FETCHED) > 0
    measured(f"60 thumbnails in {seconds:.2f} s ({busy:.2f} s of CPU time), then {again:.2f} s")
    assert busy / 2 < 1.5  # two cores
