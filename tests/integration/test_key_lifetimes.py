"""Expiry, rotation, last use and the bootstrap key; on each database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.access import keys
from app.access.last_uses import LastUses
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.settings import Settings
from app.tables.access import ApiKey
from tests.commands import invoke
from tests.integration.access import Service, bearer, served
from tests.integration.jobs import problem

SECRET = "f00d" * 16


def add(context: Context, lifetime: timedelta | None = None) -> tuple[ApiKey, str]:
    with context.database.write() as session:
        return keys.create(session, "ann", "ann", [Scope.READ], lifetime)


def read(context: Context, key_id: str) -> ApiKey:
    with context.database.read() as session:
        return session.get_one(ApiKey, key_id)


def status(service: Service, token: str) -> int:
    code: int = service.client.get("/jobs", headers=bearer(token)).status_code
    return code


def test_a_key_expires(settings: Settings) -> None:
    with served(settings) as service:
        key, token = add(service.context, timedelta(hours=1))
        assert status(service, token) == 200
        with service.context.database.write() as session:
            session.get_one(ApiKey, key.id).expires_at = datetime.now(UTC) - timedelta(seconds=1)
        found = problem(service.client.get("/jobs", headers=bearer(token)), 401, "key_invalid")
        assert "expired" in found["detail"]
        with service.context.database.read() as session:
            assert not keys.any_valid(session)


def test_rotation(settings: Settings) -> None:
    with served(settings) as service:
        old, old_token = add(service.context, timedelta(days=90))
        with service.context.database.write() as session:
            stored = session.get_one(ApiKey, old.id)
            new, new_token = keys.rotate(session, stored, timedelta(hours=1))
        assert (new.name, new.owner, new.scopes) == (old.name, old.owner, old.scopes)
        assert new.expires_at is not None
        assert new.expires_at - new.created_at == timedelta(days=90)
        assert status(service, old_token) == status(service, new_token) == 200
        expires = read(service.context, old.id).expires_at
        assert expires is not None
        assert expires <= datetime.now(UTC) + timedelta(hours=1)
        with service.context.database.write() as session:
            keys.rotate(session, session.get_one(ApiKey, new.id), timedelta())
        assert status(service, new_token) == 401


def test_the_last_use_is_written_once_a_minute(context: Context) -> None:
    now = [1000.0]
    key, _ = add(context)
    moments = []
    uses = LastUses(context.database, keys.used, lambda: now[0])
    for seconds in (0, 30, 31):
        now[0] += seconds
        uses.note(key.id)
        uses._thread.submit(lambda: None).result()
        moments.append(read(context, key.id).last_used_at)
    uses.close()
    assert moments[0] is not None
    assert moments[1] == moments[0] < moments[2]


def test_a_request_records_the_use_of_its_key(settings: Settings) -> None:
    with served(settings) as service:
        key, token = add(service.context)
        other, _ = add(service.context)
        for _ in range(3):
            assert status(service, token) == 200
        assert status(service, token[:-1] + ("0" if token[-1] != "0" else "1")) == 401
    opened = Context.open(settings)
    try:
        used = read(opened, key.id).last_used_at
        assert used is not None
        assert datetime.now(UTC) - used < timedelta(minutes=1)
        assert read(opened, other.id).last_used_at is None
    finally:
        opened.close()


def test_an_admin_creates_lists_and_revokes_keys(settings: Settings) -> None:
    with served(settings) as service:
        admin = service.key("root", Scope.ADMIN)
        wanted = {"name": " camera ", "scopes": ["read"], "expires_in_days": 2}
        response = service.client.post("/keys", json=wanted, headers=admin)
        assert response.status_code == 201, response.text
        made = response.json()
        token = made.pop("key")
        assert (made["name"], made["owner"], made["scopes"]) == ("camera", "camera", ["read"])
        assert status(service, token) == 200
        first, second = (
            service.client.get("/keys", params=query, headers=admin).json()
            for query in ({"limit": 1}, {"after": made["id"]})
        )
        assert [key["id"] for key in first["data"]] == [made["id"]]
        assert (first["has_more"], first["next"]) == (True, made["id"])
        assert [key["owner"] for key in second["data"]] == ["root"]
        assert token.rpartition("_")[2] not in json.dumps(first)

        for _ in range(2):
            revoked = service.client.delete(f"/keys/{made['id']}", headers=admin)
            assert revoked.status_code == 204
        assert status(service, token) == 401
        problem(service.client.delete("/keys/key_0", headers=admin), 404, "key_not_found")
        for wrong in ({"name": " "}, {"name": "a\x00"}, {"name": "a", "scopes": []}, {}):
            refused = service.client.post("/keys", json=wrong, headers=admin)
            assert refused.status_code == 422, wrong


@contextmanager
def bootstrapped(settings: Settings, key: str) -> Iterator[Service]:
    with served(settings.model_copy(update={"bootstrap_key": key})) as service:
        yield service


def test_a_bootstrap_key_opens_a_new_installation(settings: Settings) -> None:
    for _ in range(2):  # a restart changes nothing
        with bootstrapped(settings, SECRET) as service:
            assert status(service, SECRET) == 200
            assert service.client.get("/metrics", headers=bearer(SECRET)).status_code == 200
            problem(service.client.get("/jobs"), 401, "key_missing")
            assert status(service, "g" * 64) == 401
            with service.context.database.read() as session:
                assert len(keys.every(session)) == 1
    other = "beef" * 16
    with bootstrapped(settings, other) as service:
        assert status(service, other) == 200
        assert status(service, SECRET) == 401
    # A process that still has the old value does not bring its key back.
    with bootstrapped(settings, SECRET) as service:
        assert status(service, SECRET) == 401
        assert status(service, other) == 200


@pytest.mark.parametrize("key", ["short", "with space " * 5, "é" * 40, f"dspt_{'0' * 26}_{SECRET}"])
def test_a_weak_bootstrap_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(bootstrap_key=key)
    assert key not in str(caught.value)


def dspt(*arguments: str, data_dir: Path) -> Any:
    return invoke(["keys", *arguments, "--data-dir", str(data_dir)])


def listed(data_dir: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(dspt("list", "--json", data_dir=data_dir).stdout)
    return found


def test_the_commands(tmp_path: Path) -> None:
    created = dspt("create", "ann", "--expires", "90d", data_dir=tmp_path)
    assert created.exit_code == 0, created.output
    assert "expires" in created.stderr
    (key,) = listed(tmp_path)
    lifetime = datetime.fromisoformat(key["expires_at"]) - datetime.fromisoformat(key["created_at"])
    assert lifetime == timedelta(days=90)
    rotated = dspt("rotate", key["id"][:20], "--overlap", "1h", data_dir=tmp_path)
    assert rotated.exit_code == 0, rotated.output
    assert rotated.stdout.startswith("dspt_")
    assert f"{key['id']} expires at" in rotated.stderr
    assert dspt("rotate", key["id"], data_dir=tmp_path).exit_code == 0
    again = dspt("rotate", key["id"], data_dir=tmp_path)
    assert again.exit_code == 1
    assert "was revoked or has expired" in again.output
    table = dspt("list", data_dir=tmp_path).stdout
    assert key["id"] in table
    assert "revoked" in table
    assert "valid" in table
    for wrong in ("90", "0d", "-1d", "1y", "d"):
        refused = dspt("create", "bob", "--expires", wrong, data_dir=tmp_path)
        assert refused.exit_code == 2
        assert "--expires" in refused.output
    # The beginning that all ids share is the id of none.
    assert dspt("revoke", "key_01", data_dir=tmp_path).exit_code == 1
    assert len(listed(tmp_path)) == 3


@pytest.mark.parametrize(
    ("scope", "variable", "value", "call"),
    [
        ("metrics", "DSPT_PORT", "8011", "http://127.0.0.1:8011/metrics"),
        ("read", "DSPT_URL", "https://dspt.example/", "https://dspt.example/jobs"),
    ],
)
def test_a_new_key_comes_with_a_call_that_it_may_make(
    tmp_path: Path, scope: str, variable: str, value: str, call: str
) -> None:
    options = ["--scope", scope, "--data-dir", tmp_path]
    made = invoke(["keys", "create", "ann", *options], env={variable: value})
    assert made.stderr.splitlines()[-1].endswith(f" {call}")
