"""Sessions of the page: a key or a link for a cookie, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.access import keys, sessions
from app.access.sessions import SignInLink
from app.kit.settings import Settings
from app.tables.access import ApiKey, PageSession
from tests.integration.access import Service, served
from tests.integration.conftest import MigratedDatabase
from tests.integration.jobs import problem
from tests.services import wait_until

#: What the browser sends from the page itself.
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def service(
    migrated: MigratedDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("sessions")
    with (
        migrated(folder / "data") as url,
        served(Settings(data_dir=folder / "data", database_url=url)) as opened,
    ):
        yield opened


@pytest.fixture(autouse=True)
def _no_cookies(service: Service) -> Iterator[None]:
    yield
    service.client.cookies.clear()


def sign_in(service: Service, owner: str) -> httpx.Response:
    key = service.key(owner)["Authorization"].removeprefix("Bearer ")
    response: httpx.Response = service.client.post("/session", json={"key": key}, headers=OWN)
    assert response.status_code == 201, response.text
    return response


def test_a_key_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(service: Service) -> None:
    response = sign_in(service, "ann")
    cookie = response.headers["set-cookie"].lower()
    for part in ("dspt=", "httponly", "samesite=strict", "path=/", "max-age=604800"):
        assert part in cookie
    token = response.cookies["dspt"]
    assert token not in response.text
    with service.context.database.read() as session:
        assert session.get(PageSession, token) is None
        assert session.get(PageSession, sessions.digest(token)) is not None

    found = service.client.get("/session").json()
    assert (found["owner"], found["scopes"], found["signed_in"]) == (
        "ann",
        ["read", "submit"],
        True,
    )
    assert service.post(OWN).status_code == 202
    https = service.client.post(
        "https://dspt.example/session",
        json={"key": service.key("ann")["Authorization"].removeprefix("Bearer ")},
        headers=OWN,
    )
    assert https.headers["set-cookie"].startswith("__Host-dspt=")
    assert "; secure" in https.headers["set-cookie"].lower()


def test_the_cookie_is_of_no_use_to_another_site(service: Service) -> None:
    sign_in(service, "bob")
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
        {},  # neither: nothing proves that the page sent it
    ):
        problem(service.post(headers), 403, "cross_site")
    # Also what the page gets through a proxy that names itself in `Host`.
    behind = service.post({"Sec-Fetch-Site": "same-origin", "Origin": "https://public.example"})
    assert "proxy in between must pass on the header `Host`" in behind.json()["detail"]
    problem(
        service.client.get("/jobs", headers={"Sec-Fetch-Site": "cross-site"}), 403, "cross_site"
    )
    assert service.client.get("/jobs", headers={"Sec-Fetch-Site": "none"}).status_code == 200
    assert service.post({"Origin": "http://dspt.example"}).status_code == 202
    stolen = service.client.post(
        "/session", json={"key": "x"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    problem(stolen, 403, "cross_site")


def test_a_session_ends_with_its_key_by_time_and_by_signing_out(service: Service) -> None:
    sign_in(service, "cy")
    with service.context.database.write() as session:
        keys.revoke(session, session.query(ApiKey).filter_by(owner="cy").one().id)
    problem(service.client.get("/jobs"), 401, "key_missing")

    token = sign_in(service, "dee").cookies["dspt"]
    with service.context.database.write() as session:
        kept = session.get(PageSession, sessions.digest(token))
        assert kept is not None
        kept.expires_at = datetime.now(UTC)
    problem(service.client.get("/jobs"), 401, "key_missing")

    token = sign_in(service, "eve").cookies["dspt"]  # deletes those that have ended
    response = service.client.delete("/session", headers=OWN)
    assert response.status_code == 204
    assert response.headers["clear-site-data"] == '"cache"'
    service.client.cookies.set("dspt", token)
    problem(service.client.get("/jobs"), 401, "key_missing")
    assert service.client.delete("/session", headers=OWN).status_code == 204


def test_a_session_ends_twelve_hours_after_its_last_request(service: Service) -> None:
    token = sign_in(service, "gil").cookies["dspt"]

    def ends(after: timedelta | None = None) -> timedelta:
        """Time until the session ends; set to `after` before."""
        with service.context.database.write() as session:
            kept = session.get(PageSession, sessions.digest(token))
            assert kept is not None
            if after is not None:
                kept.expires_at = datetime.now(UTC) + after
            return kept.expires_at - datetime.now(UTC)

    assert timedelta(hours=11) < ends() < timedelta(hours=13)
    assert ends(timedelta(hours=1)) < timedelta(hours=2)
    assert service.client.get("/jobs").status_code == 200
    wait_until(lambda: ends() > timedelta(hours=11), 10, "the session is prolonged")
    # On its last day a request prolongs it no more.
    ends(timedelta(hours=1))
    with service.context.database.write() as session:
        kept = session.get(PageSession, sessions.digest(token))
        assert kept is not None
        kept.created_at -= timedelta(days=6, hours=13)
        session.flush()
        session.execute(sessions.used([sessions.digest(token)]))
    assert ends() < timedelta(hours=2)


def test_a_wrong_key_is_counted_and_refused(service: Service) -> None:
    refused = service.client.post("/session", json={"key": "dspt_x"}, headers=OWN)
    problem(refused, 401, "key_invalid")
    for body in ({}, {"key": "a", "link": "b"}, {"password": "a"}):
        assert service.client.post("/session", json=body, headers=OWN).status_code == 422


def test_the_link_of_the_start_signs_in_once(service: Service) -> None:
    service.key("fay")
    service.app.state.sign_in_link = SignInLink(sessions.digest("token"))
    problem(
        service.client.post("/session", json={"link": "other"}, headers=OWN), 401, "key_invalid"
    )
    found = service.client.post("/session", json={"link": "token"}, headers=OWN)
    assert (found.status_code, found.json()["owner"]) == (201, "local")
    assert "admin" in service.client.get("/session").json()["scopes"]
    again = service.client.post("/session", json={"link": "token"}, headers=OWN)
    assert "used before" in problem(again, 401, "key_invalid")["detail"]


def test_the_page_has_a_strict_policy_and_browsers_are_led_to_it(service: Service) -> None:
    root = service.client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (root.status_code, root.headers["location"]) == (307, "ui/")
    problem(service.client.get("/"), 404, "not_found")
    page = service.client.get("/ui/")
    assert "<script" in page.text
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    for part in ("default-src 'none'", "script-src 'self'", "trusted-types 'none'"):
        assert part in policy
    script = service.client.get("/ui/app.js")
    assert script.headers["content-encoding"] == "gzip"
    same = service.client.get("/ui/app.js", headers={"If-None-Match": script.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    for name in ("main.tsx", "..%2F__init__.py", "source"):
        assert service.client.get(f"/ui/{name}").status_code in (401, 404)
