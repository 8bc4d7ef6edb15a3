"""`dspt doctor` where everything works, where nothing is set up, and where something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.access import keys
from app.kit.context import Context
from app.kit.db import Database
from app.kit.http.rules import Scope
from app.kit.schema import migrate
from app.kit.settings import Settings
from tests.commands import invoke
from tests.integration.own_api import running
from tests.s3_server import S3Server, full_server
from tests.services import RedisServer


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> Iterator[tuple[str, Context]]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("doctor"), broker_url=redis.emptied())
    with running(settings) as started:
        yield started


def doctor(*arguments: str | Path, ends: int = 0) -> dict[str, dict[str, Any]]:
    """Check -> what was found."""
    ran = invoke(["doctor", *arguments, "--json"])
    assert ran.exit_code == ends, ran.output
    document = json.loads(ran.stdout)
    assert document["healthy"] is (ends == 0)
    return {one["check"]: one for one in document["findings"]}


def test_nothing_is_set_up(tmp_path: Path) -> None:
    """It answers without torch and the other packages that take long to import."""
    heavy = {"torch", "open_clip", "openvino", "celery", "numpy", "PIL", "uvicorn", "app.main"}
    heavy |= {"fastapi", "sqlalchemy", "alembic", "redis"}
    code = f"""if True:
        import sys
        from dspt.cli import main
        try:
            main()
        finally:
            print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DSPT_")}
    ran = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--json", "--data-dir", tmp_path / "data"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert ran.stderr == "[]\n"
    found = {one["check"]: one for one in json.loads(ran.stdout)["findings"]}
    states = {check: one["state"] for check, one in found.items()}
    for check in ("dspt", "packages", "CPUs", "backbones", "DSPT_..."):
        assert states[check] == "ok", found[check]
    for check in ("torch", "data directory", "database", "broker", "storage", "address"):
        assert states[check] == "off", found[check]
    assert "builtin" in found["backbones"]["found"]
    assert "dspt doctor --full" in found["torch"]["found"]
    assert not (tmp_path / "data").exists()  # it changes nothing


def test_full_loads_the_backbones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_LOCAL_BACKBONES", '["local-dir:/nowhere"]')
    found = doctor("--data-dir", tmp_path, "--full")
    assert found["torch"]["state"] == "ok"
    assert found["load builtin"] | {"found": ""} == {
        "part": "installation",
        "check": "load builtin",
        "state": "ok",
        "found": "",
        "mend": "",
    }
    missing = found["load local-dir:/nowhere"]
    assert (missing["state"], missing["found"]) == ("warn", "/nowhere is not a folder")


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
def test_a_new_postgresql(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it has no tables yet is not an error: the API creates them."""
    monkeypatch.setenv("DSPT_DATABASE_URL", empty_database_url)
    found = doctor()
    assert found["database"]["state"] == "off"
    assert found["database"]["found"].endswith(": up, no tables yet")
    assert found["database"]["mend"] == "the first start of the API creates the tables of DSPT"
    assert not {"workers", "installation"} & found.keys()

    database = Database(empty_database_url)
    with database.write() as session:
        session.execute(text("CREATE TABLE theirs (n int)"))
    database.close()
    found = doctor()
    assert found["database"]["state"] == "warn"
    assert found["database"]["found"].endswith(": up, 1 table of another program")


def test_working_parts(tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(f"sqlite:///{tmp_path / 'dspt.db'}")
    (tmp_path / "storage").mkdir()
    monkeypatch.setenv("DSPT_BROKER_URL", redis.url)
    found = doctor("--data-dir", tmp_path)
    parts = ("data directory", "database", "broker", "storage")
    assert [found[part]["state"] for part in parts] == ["ok"] * 4
    assert "schema 0" in found["database"]["found"]
    assert "GiB free" in found["storage"]["found"]
    assert found["workers"]["state"] == "off"


def test_broken_parts_are_listed_with_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "storage").write_text("no folder")
    monkeypatch.setenv("DSPT_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/dspt")
    monkeypatch.setenv("DSPT_BROKER_URL", "redis://:secret@127.0.0.1:1/0")
    monkeypatch.setenv("DSPT_LOCAL_BACKBONES", '["local-dir:/nowhere"]')
    ran = invoke(["doctor", "--data-dir", str(tmp_path)])
    assert ran.exit_code == 1
    assert "secret" not in ran.output
    for fix in ("start the database", "start Redis", "check its permissions", "mount it on this"):
        assert fix in " ".join(ran.output.split())
    assert "3 errors, 1 warning" in ran.output


@pytest.mark.parametrize("exists", [True, False])
def test_a_data_directory_that_is_not_writable(
    exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path if exists else tmp_path / "new"
    # Permissions do not stop the administrator, as whom the tests may run.
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != tmp_path or not mode & os.W_OK
    )
    found = doctor("--data-dir", folder, ends=1)["data directory"]
    assert (found["state"], found["found"]) == (
        "fail",
        f"{folder}: Permission denied: {tmp_path}",
    )
    assert "DSPT_DATA_DIR" in found["mend"]


def test_a_bucket(tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def storage(**environment: str) -> dict[str, str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return doctor("--data-dir", tmp_path, ends=int(bool(environment)))["storage"]

    monkeypatch.setenv("DSPT_STORAGE_URL", s3.new_url())
    monkeypatch.setenv("DSPT_S3_ENDPOINT", s3.endpoint)
    assert storage()["state"] == "ok"
    for wrong, fix in (
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "correct AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "wrong"}, "correct AWS_ACCESS_KEY_ID"),
        ({"DSPT_STORAGE_URL": "s3://no-such-bucket"}, "create the bucket"),
        ({"DSPT_S3_ENDPOINT": "http://127.0.0.1:9"}, "check that the S3 server runs"),
    ):
        found = storage(**wrong)
        assert (found["state"], found["mend"].startswith(fix)) == ("fail", True), found
    with full_server() as endpoint:
        found = storage(DSPT_S3_ENDPOINT=endpoint)
    assert (found["state"], found["mend"].startswith("free some space")) == ("fail", True), found


def test_a_database_of_another_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'dspt.db'}"
    migrate(url)

    def at(revision: str, minimum: str = "0001", ends: int = 0) -> dict[str, Any]:
        database = Database(url)
        with database.write() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :n"), {"n": revision})
            session.execute(
                text("UPDATE schema_compatibility SET minimum_revision = :n"), {"n": minimum}
            )
        database.close()
        return doctor("--data-dir", tmp_path, ends=ends)["database"]

    assert at("0001")["mend"] == "the API migrates it when it starts"
    assert at("9999")["mend"] == "install the newer version"
    assert at("9999", minimum="9999", ends=1)["mend"] == "install the version that created it"


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


def test_a_wrong_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_URL", "http://127.0.0.1:1")
    assert "dspt serve" in doctor("--data-dir", tmp_path, ends=1)["address"]["mend"]
    monkeypatch.setenv("DSPT_URL", "nowhere")
    assert "is not a URL" in doctor("--data-dir", tmp_path, ends=1)["address"]["found"]
