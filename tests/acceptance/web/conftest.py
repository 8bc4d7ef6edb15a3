"""A browser on the running service. A message about the policy, or any error, fails a test."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

pytest.importorskip("playwright", reason="needs playwright: pip install -e '.[dev]'")

from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    expect,
    sync_playwright,
)

expect.set_options(timeout=15_000)
#: Where the browser is, if not on the PATH.
CHROMIUM = os.environ.get("DSPT_TEST_CHROMIUM") or shutil.which("chromium")
#: Features that are off. Chromium obeys the last list alone, so this one repeats Playwright's.
_WITHOUT = [
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
    # Three more renderers for each window: pages below the address bar, and one in reserve.
    "SpareRendererForSitePerProcess",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxPopup",
]
_ARGUMENTS = [
    f"--disable-features={','.join(_WITHOUT)}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    # A foreign name for this machine, as an attacker would make one.
    "--host-resolver-rules=MAP foreign.example 127.0.0.1",
]


@pytest.fixture(scope="package")  # its event loop would be in the way of other tests
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium), or its path in DSPT_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield opened
        opened.close()


def measured(text: str) -> None:
    """Show a measurement; `pytest -s` or `-rP` prints it."""
    sys.stdout.write(f"{text}\n")


@contextmanager
def window(
    browser: Browser, address: str, *, expected: str = "(?!)", **options: Any
) -> Iterator[BrowserContext]:
    """A window of a person who has not been here before; all that goes wrong in it is recorded.

    expected: pattern of messages on the console that belong to the test, such as of a cut line.
    """
    made = browser.new_context(
        base_url=address, **({"viewport": {"width": 1100, "height": 800}} | options)
    )
    made.set_default_timeout(30_000)
    wrong: list[str] = []
    elsewhere: list[str] = []

    def record(text: str) -> None:
        if not re.search(expected, text):
            wrong.append(text)

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: record(str(error)))
        page.on("console", lambda sent: sent.type in ("error", "warning") and record(sent.text))

    made.on("page", watch)
    made.on(
        "request",
        lambda sent: sent.url.startswith((address, "blob:")) or elsewhere.append(sent.url),
    )
    made.add_init_script(
        "addEventListener('securitypolicyviolation', (found) =>"
        " console.error(`policy: ${found.violatedDirective} ${found.blockedURI}`))"
    )
    yield made
    made.close()
    assert wrong == []
    assert elsewhere == []


@pytest.fixture
def context(browser: Browser, service: httpx.Client) -> Iterator[BrowserContext]:
    with window(browser, str(service.base_url).rstrip("/")) as made:
        yield made


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def check(page: Page, where: str, **only: Any) -> None:
    """Check what the page shows at the moment with axe.

    Results other than violations would take longer than the rules themselves.
    """
    rules = {"rules": {"target-size": {"enabled": True}}, "resultTypes": ["violations"]}
    # Half a megabyte of script, which a document needs once.
    axe = Axe("" if page.evaluate("'axe' in window") else AXE_SCRIPT)
    found = axe.run(page, options=rules | only)
    assert found.violations_count == 0, f"{where}: {found.generate_report()}"


def check_accessible(page: Page, where: str) -> None:
    """Check what the page shows at the moment in both themes, which differ in colours alone."""
    page.emulate_media(color_scheme="light")
    check(page, f"{where}, light")
    page.emulate_media(color_scheme="dark")
    check(page, f"{where}, dark", runOnly=["color-contrast"])


#: Whether the element under the focus, or its label, has an outline; the pages draw it themselves.
_FOCUS_IS_SEEN = """(() => {
    const focused = document.activeElement;
    return [focused, focused.closest("label")].some((each) =>
        each && getComputedStyle(each).outlineStyle !== "none");
})()"""


def by_tab(page: Page, target: Locator) -> None:
    """Move the focus there by the Tab key alone; check that it can be seen on the way."""
    expect(target).to_be_attached()
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('body, h1')"):
            continue  # the end of the page, or a view that opens: the next one starts again
        assert page.evaluate(_FOCUS_IS_SEEN), page.evaluate("document.activeElement.outerHTML")
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"the Tab key does not lead to {target}")


def enter(page: Page, target: Locator) -> None:
    """Press a button or follow a link by the keyboard alone."""
    by_tab(page, target)
    page.keyboard.press("Enter")
