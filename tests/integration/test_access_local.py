"""Before there is a key: this machine only, and only until there is one; on each database."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.access import keys
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.settings import Settings
from app.main import create_app
from app.tables.access import ApiKey
from tests.integration.access import bearer, served
from tests.integration.conftest import local_client, post_job
from tests.integration.jobs import problem


def make_key(context: Context, owner: str, *scopes: Scope) -> dict[str, str]:
    with context.database.write() as session:
        return bearer(keys.create(session, owner, owner, scopes or list(Scope))[1])


def test_the_first_key_shuts_the_door_at_once_and_for_good(
    client: TestClient, live: Context
) -> None:
    job = post_job(client)
    problem(client.get("/jobs", headers=bearer("dspt_x")), 401, "key_invalid")  # even now
    ann = make_key(live, "ann", Scope.READ, Scope.SUBMIT)
    problem(client.get("/jobs"), 401, "key_missing")
    assert client.get("/jobs", headers=ann).json()["data"] == []
    # What was made before belongs to `local`.
    local = make_key(live, "local", Scope.READ)
    assert client.get(f"/jobs/{job['id']}", headers=local).status_code == 200
    with live.database.write() as session:
        for key in keys.every(session):
            keys.revoke(session, key.id)
        assert keys.any_created(session)
        assert not keys.any_valid(session)
    problem(client.get("/jobs"), 401, "key_missing")
    with local_client(create_app(live.settings)) as restarted:
        problem(restarted.get("/jobs"), 401, "key_missing")


def test_another_machine_is_refused_whatever_the_server_is_bound_to(settings: Settings) -> None:
    with served(settings) as service:
        for path in ("/jobs", "/backbones", "/models", "/nothing"):
            found = problem(service.client.get(path), 403, "keys_needed")
            assert "dspt keys create" in found["detail"]
        assert service.client.get("/health/live").status_code == 200
        headers = service.key("ann")
        assert service.client.get("/jobs", headers=headers).status_code == 200


def test_a_page_of_another_site_is_refused(client: TestClient) -> None:
    archive = {"dataset": ("a.zip", b"x")}
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    problem(client.post("/jobs", files=archive, headers=evil), 403, "cross_site")
    problem(client.post("/predict", headers=evil), 403, "cross_site")
    rebound = {"Host": "rebound.example:8000"}
    problem(client.get("/jobs", headers=rebound), 403, "host_not_local")
    # Nor may a page of another site read what it asks for.
    answer = client.get("/jobs", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.usefixtures("stopped_rate_window")
@pytest.mark.parametrize("with_keys", [False, True])
def test_the_rate_is_limited(settings: Settings, with_keys: bool) -> None:
    app = create_app(settings.model_copy(update={"requests_per_minute": 3}))
    with local_client(app) as client:
        ann = make_key(app.state.context, "ann") if with_keys else {}
        for _ in range(3):
            assert client.get("/jobs", headers=ann).status_code == 200
        refused = client.get("/jobs", headers=ann)
        problem(refused, 429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        refused = client.post("/jobs", headers=ann, files={"dataset": b"x" * 100_000})
        problem(refused, 429, "rate_limited")
        assert refused.headers["connection"] == "close"
        for _ in range(5):  # probes are not counted
            assert client.get("/health/live").status_code == 200
        if with_keys:  # others have their own share
            bob = make_key(app.state.context, "bob")
            assert client.get("/jobs", headers=bob).status_code == 200


@pytest.mark.usefixtures("stopped_rate_window")
def test_tries_with_wrong_keys_are_limited_but_not_those_with_a_valid_key(
    settings: Settings,
) -> None:
    with served(settings) as service:
        ann = service.key("ann")
        for _ in range(60):
            problem(service.client.get("/jobs", headers=bearer("x")), 401, "key_invalid")
        refused = service.client.get("/jobs", headers=bearer("x"))
        problem(refused, 429, "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1
        assert service.client.get("/jobs", headers=ann).status_code == 200


def test_a_database_that_is_away_is_not_an_open_door(settings: Settings) -> None:
    with served(settings, client=("127.0.0.1", 5)) as service:
        ann = service.key("ann")
        with service.context.database.write() as session:
            table = ApiKey.__table__
            session.connection().exec_driver_sql(f"ALTER TABLE {table} RENAME TO elsewhere")
        for headers in ({"Host": "127.0.0.1"}, ann):
            assert service.client.get("/jobs", headers=headers).status_code in (500, 503)
