"""A browser on the running service. A message about the policy, or any error, fails a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import httpx
import pytest

pytest.importorskip("playwright", reason="needs playwright: pip install -e '.[dev]'")

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

expect.set_options(timeout=15_000)
#: Where the browser is, if not on the PATH.
CHROMIUM = os.environ.get("DSPT_TEST_CHROMIUM") or shutil.which("chromium")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


@pytest.fixture(scope="module")  # its event loop would be in the way of other tests
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium), or its path in DSPT_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def context(browser: Browser, service: httpx.Client) -> Iterator[BrowserContext]:
    """A window of a person who has not been here before; all that goes wrong in it is recorded."""
    made = browser.new_context(
        base_url=str(service.base_url), viewport={"width": 1100, "height": 800}
    )
    made.set_default_timeout(30_000)
    wrong: list[str] = []
    elsewhere: list[str] = []
    origin = str(service.base_url).rstrip("/")

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console", lambda said: said.type in ("error", "warning") and wrong.append(said.text)
        )

    made.on("page", watch)
    made.on(
        "request",
        lambda sent: sent.url.startswith((origin, "blob:")) or elsewhere.append(sent.url),
    )
    yield made
    made.close()
    assert wrong == []
    assert elsewhere == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
