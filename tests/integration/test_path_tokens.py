"""Tokens for one path: what they open, until when, and that no log has them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from app.access import keys, path_tokens
from app.access.path_tokens import LIFETIME, PathTokens
from app.kit.http.rules import Scope
from app.kit.settings import Settings
from app.main import create_app
from tests.integration.access import Headers, Service, served
from tests.integration.conftest import MigratedDatabase, local_client
from tests.integration.databases import sqlite_first
from tests.integration.jobs import problem

pytestmark = sqlite_first


@pytest.fixture(scope="module")
def service(
    migrated: MigratedDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("tokens")
    with (
        migrated(folder / "data") as url,
        served(Settings(data_dir=folder / "data", database_url=url)) as opened,
    ):
        yield opened


def token_url(service: Service, headers: Headers, path: str) -> str:
    response = service.client.post("/tokens", json={"path": path}, headers=headers)
    assert response.status_code == 201, response.text
    url: str = response.json()["url"]
    return url


def test_a_token_opens_one_path_for_reading_only(service: Service) -> None:
    ann, bob = service.key("ann", Scope.READ, Scope.SUBMIT), service.key("bob")
    job = service.post(ann).json()
    mine, theirs = (token_url(service, who, job["links"]["self"]) for who in (ann, bob))
    found = service.client.get(mine)
    assert (found.status_code, found.json()["id"]) == (200, job["id"])
    assert found.headers["cross-origin-resource-policy"] == "cross-origin"
    problem(service.client.get(theirs), 404, "job_not_found")  # the rights of its caller
    query = mine.partition("?")[2]
    for method, path in (
        ("GET", "/jobs"),
        ("GET", f"/jobs/{job['id']}/events"),
        ("POST", f"/jobs/{job['id']}/cancel"),
        ("DELETE", f"/jobs/{job['id']}"),
        ("GET", "/metrics"),
    ):
        problem(service.client.request(method, f"{path}?{query}"), 401, "token_invalid")
    problem(service.client.delete(mine), 401, "token_invalid")
    assert service.client.get(mine).json()["status"] == "queued"
    # The rest of the query is the call's.
    events = token_url(service, ann, f"/jobs/{job['id']}/events")
    assert len(service.client.get(f"{events}&limit=1").json()["data"]) == 1
    problem(service.client.get(f"{events}&limit=0"), 422, "invalid_request")
    # Paths that no token is for.
    for path in ("jobs", "/jobs?limit=1", "/x y", "//evil.example", ""):
        response = service.client.post("/tokens", json={"path": path}, headers=ann)
        problem(response, 422, "invalid_request")


def test_a_token_ends_with_its_time_and_with_its_key(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = service.key("ann")
    url = token_url(service, ann, "/jobs")
    assert service.client.get(url).status_code == 200
    where, _, token = url.partition("=")
    expiry, key_id, signature = token.split(".")
    for changed in (
        f"{int(expiry) + 1}.{key_id}.{signature}",
        f"{expiry}..{signature}",
        f"{expiry}.{key_id}.{'0' * 64}",
        "x",
        "",
    ):
        problem(service.client.get(f"{where}={changed}"), 401, "token_invalid")

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + LIFETIME

    with monkeypatch.context() as patch:
        patch.setattr(path_tokens, "datetime", Later)
        problem(service.client.get(url), 401, "token_invalid")
    assert service.client.get(url).status_code == 200
    # Another process of the API accepts it too.
    assert PathTokens(service.context).key_id(token, "/jobs") == key_id
    with service.context.database.write() as session:
        keys.revoke(session, key_id)
    problem(service.client.get(url), 401, "token_invalid")


@pytest.fixture
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """All lines of the log, also those of requests."""
    before, capture = structlog.get_config(), LogCapture()
    bound = structlog.make_filtering_bound_logger(logging.DEBUG)
    structlog.configure(processors=[capture], wrapper_class=bound)
    yield capture.entries
    structlog.configure(**before)


def test_no_log_has_a_token(service: Service, lines: list[MutableMapping[str, Any]]) -> None:
    url = token_url(service, service.key("ann"), "/jobs")
    token = url.partition("=")[2]
    service.client.get(url)
    service.client.get(f"/jobs?limit=0&token={token}")
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["path"] for line in requests] == ["/tokens", "/jobs", "/jobs"]
    assert token not in str(lines)
    assert token not in service.client.get(f"/jobs?limit=0&token={token}").text


def test_without_keys_there_are_tokens_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(data_dir=tmp_path_factory.mktemp("local"), no_auth=True)
    with local_client(create_app(settings)) as client:
        url = client.post("/tokens", json={"path": "/jobs"}).json()["url"]
        assert client.get(url).status_code == 200
