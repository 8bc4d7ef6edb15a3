"""Who may use the page: keys, other origins, other names. No worker is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, Route, expect

from app.access import keys
from app.kit.scopes import Scope
from tests.acceptance.web.conftest import check_accessible, window
from tests.acceptance.web.own_api import OwnApi, own_api

REFUSED = "status of 40[13]"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnApi]:
    with own_api(tmp_path_factory.mktemp("access")) as opened:
        yield opened


def new_key(api: OwnApi, owner: str, *scopes: Scope) -> tuple[str, str]:
    """Id and token of a key."""
    with api.context.database.write() as session:
        key, token = keys.create(session, owner, owner, scopes or (Scope.READ, Scope.SUBMIT))
    return key.id, token


def sign_in(page: Page, token: str) -> None:
    page.goto("/ui/")
    page.get_by_label("API key").fill(token)
    page.get_by_role("button", name="Sign in").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


def one_operation(route: Route) -> None:
    """Answer with the API's document, cut: Swagger UI takes seconds to draw all operations."""
    document, path = route.fetch().json(), "/jobs/{job_id}"
    kept = {"paths": {path: document["paths"][path]}, "components": {}}
    route.fulfill(json=document | kept)


def test_without_keys_a_foreign_name_is_refused(browser: Browser, api: OwnApi) -> None:
    with window(browser, api.address) as opened:
        page = opened.new_page()
        answers: list[Response] = []
        page.on("response", lambda answer: answers.append(answer))
        page.goto("/ui/")
        expect(page.get_by_text("No jobs yet")).to_be_visible()
        files = [answer for answer in answers if "/ui/" in answer.url]
        calls = len(answers) - len(files)
        assert (len(files), calls) == (4, 3)  # and the page asks for no more than it shows
        size = sum(answer.request.sizes()["responseBodySize"] for answer in files)
        assert size < 70_000
        check_accessible(page, "no jobs")
        for view in ("models", "batches", "new"):
            page.goto(f"/ui/#/{view}")
            expect(page.get_by_text("Loading ...")).to_have_count(0)
            check_accessible(page, f"empty {view}")
        page.route("**/openapi.json", one_operation)
        page.goto("/docs")
        expect(page.get_by_text("/jobs/{job_id}", exact=True).first).to_be_visible()
        page.goto("/ui/#/new")
        page.get_by_role("button", name="Try it with the demo's photos").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("demo")
        job = api.client.get(f"/jobs/{page.url.rpartition('/')[2]}").json()
        dataset = api.client.get(f"/datasets/{job['dataset']['id']}").json()
        assert (len(dataset["classes"]), dataset["images"]) == (12, 432)
        api.client.post(f"/jobs/{job['id']}/cancel").raise_for_status()
    foreign = f"http://foreign.example:{api.port}"
    # The browser has no secure context under that name, and says so, too.
    expected = f"{REFUSED}|Cross-Origin-Opener-Policy"
    with window(browser, foreign, expected=expected) as opened:
        page = opened.new_page()
        page.goto("/ui/")
        expect(page.get_by_role("alert")).to_contain_text("host names localhost and 127.0.0.1 only")


def test_a_revoked_key_signs_out_at_the_next_request(browser: Browser, api: OwnApi) -> None:
    key_id, token = new_key(api, "ann")
    with window(browser, api.address, expected=REFUSED) as opened:
        page = opened.new_page()
        page.goto("/ui/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        check_accessible(page, "sign-in")
        page.get_by_label("API key").fill("dspt_wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("invalid")
        check_accessible(page, "wrong key")
        sign_in(page, token)
        (cookie,) = opened.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert token not in page.evaluate("JSON.stringify([localStorage, document.cookie])")
        with api.context.database.write() as session:
            keys.revoke(session, key_id)
        page.goto("/ui/#/models")  # the list of jobs may have asked by itself meanwhile
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_an_admin_makes_a_key_and_revokes_it(browser: Browser, api: OwnApi) -> None:
    _, token = new_key(api, "root", Scope.ADMIN)
    with window(browser, api.address, expected=REFUSED) as opened:
        page = opened.new_page()
        sign_in(page, token)
        page.get_by_role("link", name="Keys").click()
        page.get_by_label("Name").fill("camera")
        page.get_by_label("Create, change and delete").uncheck()
        page.get_by_role("button", name="Create the key").press("Enter")
        made = page.locator(".snippet").inner_text()
        check_accessible(page, "keys")
        headers = {"Authorization": f"Bearer {made}"}
        found = httpx.get(f"{api.address}/session", headers=headers).json()
        assert (found["owner"], found["scopes"]) == ("camera", ["read"])
        row = page.get_by_role("row", name="camera")
        row.get_by_role("button", name="Revoke").click()
        check_accessible(page, "revoke")
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(row).to_contain_text("revoked")
        assert httpx.get(f"{api.address}/session", headers=headers).status_code == 401
        page.reload()
        expect(page.get_by_role("row", name="camera")).to_be_visible()
        expect(page.get_by_role("main")).not_to_contain_text(made)


@contextmanager
def other_origin(html: str) -> Iterator[str]:
    """Address of a page on another port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_another_origin_changes_nothing_and_sees_nothing(browser: Browser, api: OwnApi) -> None:
    _, token = new_key(api, "bob")
    headers = {"Authorization": f"Bearer {token}"}
    html = f"""<form method="post" action="{api.address}/jobs"></form>
      <iframe src="{api.address}/ui/"></iframe><img id="photo" src="{api.address}/ui/icon.svg">"""
    opened: BrowserContext = browser.new_context(base_url=api.address)
    try:
        page = opened.new_page()
        sign_in(page, token)
        with other_origin(html) as address:
            # The same site, so that the browser does send the cookie.
            foreign = opened.new_page()
            foreign.goto(address)
            answer = foreign.evaluate(
                """async (address) => {
                  const tries = [];
                  for (const [method, mode] of [["POST", "no-cors"], ["GET", "cors"]])
                    tries.push(await fetch(address, {method, mode, credentials: "include"})
                      .then((answer) => answer.type, () => "refused"));
                  return tries;
                }""",
                f"{api.address}/jobs",
            )
            assert answer == ["refused", "refused"]
            assert foreign.evaluate("document.querySelector('#photo').naturalWidth") == 0
            frame = foreign.frames[1]
            assert "DSPT" not in frame.content()
            with foreign.expect_response(f"{api.address}/jobs") as response:
                foreign.evaluate("document.querySelector('form').submit()")
            assert response.value.status == 403
            assert response.value.json()["code"] == "cross_site"
        page.reload()  # still signed in
        expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    finally:
        opened.close()
    assert httpx.get(f"{api.address}/jobs", headers=headers).json()["data"] == []
