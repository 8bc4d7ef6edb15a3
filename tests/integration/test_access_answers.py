"""What answers give away, with a key and without: no secret, no error, nothing to run."""

from __future__ import annotations

import hmac
import logging
import re
from typing import Any

import pytest

from app.access import keys
from app.tables.access import ApiKey
from tests.integration.access import PUBLIC, SIGN_IN, Headers, Made, Service
from tests.integration.conftest import zip_of
from tests.integration.databases import on_sqlite
from tests.integration.jobs import files_in, problem

pytestmark = on_sqlite


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "key_missing"),
        ("Basic dXNlcjpwYXNz", "key_missing"),
        ("Bearer", "key_invalid"),
        ("Bearer x", "key_invalid"),
        ("Bearer \xff", "key_invalid"),
        (f"Bearer dspt_{'0' * 26}_{'0' * 64}", "key_invalid"),
    ],
)
def test_what_is_no_key(service: Service, ann: Headers, header: str, code: str) -> None:
    headers = {b"Authorization": header.encode("latin1")}
    problem(service.client.get("/jobs", headers=headers), 401, code)


def test_a_secret_is_compared_in_constant_time_whether_or_not_there_is_such_a_key(
    service: Service, ann: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []

    def compare(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    class Spied:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(keys, "hmac", Spied)
    unknown = f"dspt_{'0' * 26}_{'0' * 64}"
    wrong = ann["Authorization"].removeprefix("Bearer ")[:-64] + "0" * 64
    with service.context.database.read() as session:
        assert keys.callers_with(session, [unknown, "x", wrong]) == [None] * 3
    assert compared == [(64, 64)] * 2


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_what_needs_no_key(service: Service, ann: Headers, path: str) -> None:
    path = path.format(asset="swagger-ui.css", code="not_found", name="app.js")
    found = service.client.get(path, headers={"Accept": "text/html"})
    assert found.status_code in (200, 503)  # 503: there is no broker here


def test_no_answer_is_for_a_browser_to_run_or_keep(
    service: Service, ann: Headers, anns: Made
) -> None:
    for path in ("/jobs", "/nothing", f"/jobs/{anns.job_id}", "/health/live", "/openapi.json"):
        for headers in (ann, {}):
            found = service.client.get(path, headers=headers).headers
            assert found["x-content-type-options"] == "nosniff"
            assert found["x-frame-options"] == "DENY"
            assert found["referrer-policy"] == "no-referrer"
            assert found["content-security-policy"].startswith("default-src 'none'")
            assert found["cache-control"] == "no-store"
    artifact = service.client.get(f"/models/{anns.model_id}/artifact", headers=ann)
    assert artifact.headers["cache-control"] == "private, no-cache"
    assert artifact.headers["etag"]
    docs = service.client.get("/docs")
    policy = docs.headers["content-security-policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "connect-src 'self'"):
        assert part in policy
    assert "http" not in policy
    assert "//" not in docs.text.split("<body>")[0].replace("<!DOCTYPE html>", "")
    for source in re.findall(r'(?:src|href)="([^"]+)"', docs.text):  # nothing from another host
        asset = service.client.get(f"/{source}")
        assert asset.status_code == 200
        assert len(asset.content) > 100
        assert asset.headers["content-type"].startswith(("text/", "image/png"))
    assert service.client.get("/docs/passwd").status_code == 404


def test_an_unexpected_error_gives_nothing_away(
    service: Service, ann: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr("app.jobs.endpoints.views.page", broken)
    response = service.client.get("/jobs", headers=ann)
    problem(response, 500, "internal_error")
    assert "swordfish" not in response.text
    assert "Traceback" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_no_secret_is_kept_or_logged(
    service: Service, ann: Headers, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    token = ann["Authorization"].removeprefix("Bearer ")
    secret = token.rpartition("_")[2]
    with caplog.at_level(logging.DEBUG):
        service.client.get("/jobs?limit=1&after=nonsense-in-the-query", headers=ann)
        service.client.post("/jobs", headers=ann, content=b"x")
        service.client.get("/jobs", headers={"Authorization": f"Bearer {token[:-1]}z"})
    printed = capfd.readouterr()
    logged = caplog.text + printed.out + printed.err
    assert secret[:-1] not in logged
    assert "nonsense-in-the-query" not in "".join(
        line
        for line in logged.splitlines()
        if "HTTP Request" not in line  # httpx's own
    )
    with service.context.database.read() as session:
        for key in keys.every(session):
            for column in ApiKey.__table__.columns:
                assert secret not in str(getattr(key, column.name))


def test_the_documentation_describes_missing_and_insufficient_keys(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    [scheme] = document["components"]["securitySchemes"].items()
    assert scheme[1]["type"] == "http"
    assert scheme[1]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path in PUBLIC or (method.upper(), path) in SIGN_IN:
                assert "security" not in operation
                continue
            assert operation["security"] == [{scheme[0]: []}]
            assert {"401", "403", "429"} <= set(operation["responses"])
            assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_a_zip_without_a_valid_key_is_not_stored(service: Service) -> None:
    service.key("ann")
    before = files_in(service.context)
    files = {"dataset": ("a.zip", zip_of({"cat/1.png": b"x"}))}
    problem(service.client.post("/jobs", files=files), 401, "key_missing")
    assert files_in(service.context) == before
