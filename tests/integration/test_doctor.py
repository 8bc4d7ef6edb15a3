"""`dspt doctor` on machines that are well and on some that are not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from app.access import keys
from app.kit.context import Context
from app.kit.db import Database, migrate
from app.kit.http.rules import Scope
from app.kit.settings import Settings
from dspt.cli import build
from tests.integration.own_api import running
from tests.services import RedisServer


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> Iterator[tuple[str, Context]]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("doctor"), broker_url=redis.url)
    with running(settings) as started:
        yield started


def doctor(*arguments: str | Path, ends: int = 0) -> dict[str, dict[str, Any]]:
    """Check -> what was found."""
    ran = CliRunner().invoke(build(), ["doctor", *map(str, arguments), "--json"])
    assert ran.exit_code == ends, ran.output
    document = json.loads(ran.stdout)
    assert document["healthy"] is (ends == 0)
    return {one["check"]: one for one in document["findings"]}


def test_a_machine_on_which_nothing_is_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("DSPT_")]:
        monkeypatch.delenv(name)
    found = doctor("--data-dir", tmp_path / "data")
    states = {check: one["state"] for check, one in found.items()}
    for check in ("dspt", "packages", "CPUs", "torch", "backbones", "DSPT_..."):
        assert states[check] == "ok", found[check]
    for check in ("database", "broker", "storage", "address"):
        assert states[check] == "off", found[check]
    assert "builtin" in found["backbones"]["found"]
    assert not (tmp_path / "data").exists()  # to look is not to make


def test_parts_that_are_well(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(f"sqlite:///{tmp_path / 'dspt.db'}")
    (tmp_path / "storage").mkdir()
    monkeypatch.setenv("DSPT_BROKER_URL", redis.url)
    found = doctor("--data-dir", tmp_path)
    assert [found[part]["state"] for part in ("database", "broker", "storage")] == ["ok"] * 3
    assert "schema 0" in found["database"]["found"]
    assert "GiB free" in found["storage"]["found"]
    assert found["workers"]["state"] == "off"


def test_each_part_that_is_not_is_named_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "storage").write_text("no folder")
    monkeypatch.setenv("DSPT_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/dspt")
    monkeypatch.setenv("DSPT_BROKER_URL", "redis://:secret@127.0.0.1:1/0")
    monkeypatch.setenv("DSPT_LOCAL_BACKBONES", '["local-dir:/nowhere"]')
    ran = CliRunner().invoke(build(), ["doctor", "--data-dir", str(tmp_path)])
    assert ran.exit_code == 1
    assert "secret" not in ran.output
    for mend in ("start the database", "start Redis", "check its permissions", "mount it on this"):
        assert mend in " ".join(ran.output.split())
    assert "3 errors, 1 warning" in ran.output


def test_a_database_of_another_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'dspt.db'}"
    migrate(url)

    def at(revision: str, ends: int = 0) -> dict[str, Any]:
        database = Database(url)
        with database.write() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :n"), {"n": revision})
        database.close()
        return doctor("--data-dir", tmp_path, ends=ends)["database"]

    assert at("0001")["mend"] == "the API migrates it when it starts"
    assert at("9999", ends=1)["mend"] == "install the version that created it"


def test_a_service_and_its_key(
    api: tuple[str, Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, context = api
    monkeypatch.setenv("DSPT_URL", address)
    found = doctor("--data-dir", tmp_path)
    assert found["address"]["found"].startswith(f"{address}, version ")
    assert found["its broker"]["state"] == "ok"
    assert found["its workers"]["state"] == "warn"
    assert found["key"]["found"] == "not needed"
    with context.database.write() as session:
        _, token = keys.create(session, "ann", "ann", [Scope.READ])
    refused = doctor("--data-dir", tmp_path, ends=1)["key"]
    assert (refused["state"], "dspt keys create" in refused["mend"]) == ("fail", True)
    monkeypatch.setenv("DSPT_API_KEY", token)
    assert doctor("--data-dir", tmp_path)["key"]["found"] == "accepted"


def test_an_address_that_is_none_or_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_URL", "http://127.0.0.1:1")
    assert "dspt serve" in doctor("--data-dir", tmp_path, ends=1)["address"]["mend"]
    monkeypatch.setenv("DSPT_URL", "nowhere")
    assert "is not a URL" in doctor("--data-dir", tmp_path, ends=1)["address"]["found"]
