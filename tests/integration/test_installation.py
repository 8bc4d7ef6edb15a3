"""Database and storage that do not belong together: nothing starts, and no file is touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient
from sqlalchemy import delete, text

from app.gc.service import collect
from app.installation import service
from app.installation.service import InstallationError, ensure, storage_id
from app.installation.start import StartError, prepare
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.settings import Settings
from app.main import create_app
from app.tables.installation import Installation
from tests.commands import invoke
from tests.integration.conftest import MigratedDatabase, local_client, post_job, settings_for
from tests.integration.databases import on_both, sqlite_first
from tests.integration.jobs import bring_to, files_in
from tests.integration.own_api import running
from tests.s3_server import CREDENTIALS
from tests.services import RedisServer, clean_environment, free_port
from tests.warm import Warm

pytestmark = sqlite_first


KEY = storage_keys.model("mdl_" + "0" * 26)


@pytest.fixture
def unmarked(settings: Settings) -> Iterator[Context]:
    """A new database and a new storage before the first start."""
    opened = Context.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def other(migrated: MigratedDatabase, tmp_path: Path) -> Iterator[Context]:
    """Another installation, with one model's file."""
    with migrated(tmp_path / "other") as url:
        opened = Context.open(settings_for(url, tmp_path / "other"))
        ensure(opened)
        opened.storage.put_bytes(KEY, b"x")
        yield opened
        opened.close()


def root_of(context: Context) -> Path:
    return Path(context.storage.url.removeprefix("file://"))


def mixed(database: Context, storage: Context) -> Context:
    """The database of one installation with the storage of another."""
    settings = database.settings.model_copy(update={"storage_url": storage.settings.storage_url})
    return Context(settings, database.database, storage.storage)


def environment_of(context: Context) -> dict[str, str]:
    return {
        "DSPT_DATA_DIR": str(context.settings.data_dir),
        "DSPT_DATABASE_URL": context.settings.database_url,
        "DSPT_STORAGE_URL": context.settings.storage_url,
    }


def dspt(context: Context, *arguments: str) -> str:
    result = invoke(arguments, env=environment_of(context))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_first_start_marks_both_and_later_starts_change_nothing(unmarked: Context) -> None:
    assert storage_id(unmarked.storage) is None
    ensure(unmarked)
    first = storage_id(unmarked.storage)
    assert first is not None
    assert first.startswith("ins_")
    ensure(unmarked)
    assert storage_id(unmarked.storage) == first


def test_processes_that_start_at_once_agree(unmarked: Context) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ensure, [unmarked] * 4))
    ensure(unmarked)


def test_an_interrupted_first_start_goes_on(unmarked: Context) -> None:
    ensure(unmarked)
    first = storage_id(unmarked.storage)
    unmark_database(unmarked)  # as if the process had died before the commit
    ensure(unmarked)
    assert storage_id(unmarked.storage) == first


def test_an_installation_from_before_there_were_ids_is_marked(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_to(context, Status.SUCCEEDED)
    context.storage.put_bytes(KEY, b"x")
    unmark_database(context)
    context.storage.delete(storage_keys.INSTALLATION)
    log = Mock()
    monkeypatch.setattr(service, "_log", log)
    with local_client(create_app(context.settings)) as client:
        assert client.get("/health/live").status_code == 200
    log.info.assert_called_once_with(
        "database and storage marked",
        installation=storage_id(context.storage),
        storage=context.storage.url,
    )


@pytest.mark.parametrize("name", [KEY, "holiday/thesis.docx"])
def test_a_new_database_refuses_a_storage_with_files(unmarked: Context, name: str) -> None:
    path = root_of(unmarked) / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    for _ in range(2):  # the refusal marks nothing
        with pytest.raises(InstallationError, match=r"not empty.*`dspt restore`.*`dspt storage"):
            ensure(unmarked)
    with pytest.raises(InstallationError):
        list(collect(unmarked, force=True, grace_seconds=0))
    assert files_in(unmarked) == {name}
    assert storage_id(unmarked.storage) is None


def test_a_lost_database_does_not_cost_the_files(context: Context, unmarked: Context) -> None:
    context.storage.put_bytes(KEY, b"x")
    unmark_database(unmarked)  # empty, as a new one
    with pytest.raises(InstallationError, match="database is new or from another installation"):
        ensure(unmarked)


def test_two_installations_mixed_up(context: Context, other: Context) -> None:
    wrong = mixed(context, other)
    with pytest.raises(InstallationError, match=r"installation ins_\w+, the storage to ins_\w+\."):
        ensure(wrong)
    with pytest.raises(InstallationError):
        list(collect(wrong, force=True, grace_seconds=0))
    assert files_in(other) == {KEY}


def test_a_storage_that_is_not_mounted(context: Context) -> None:
    shutil.rmtree(root_of(context))
    root_of(context).mkdir()
    with pytest.raises(InstallationError, match="volume is not mounted"):
        ensure(context)
    assert list(root_of(context).iterdir()) == []


def test_a_damaged_mark_is_reported(context: Context) -> None:
    context.storage.put_bytes(storage_keys.INSTALLATION, b"{}")
    with pytest.raises(InstallationError, match=r"installation\.json in .* is damaged"):
        ensure(context)


def test_a_running_service_stops_collecting_once_its_storage_is_replaced(
    client: TestClient, live: Context, other: Context
) -> None:
    post_job(client)
    shutil.rmtree(root_of(live))
    shutil.copytree(root_of(other), root_of(live))
    with pytest.raises(InstallationError):
        list(collect(live, force=True, grace_seconds=0))
    assert files_in(live) == {KEY}


def test_adopting_a_storage(context: Context, other: Context) -> None:
    wrong = mixed(context, other)
    adopted = dspt(wrong, "storage", "adopt")
    assert "now belongs to the database's installation ins_" in adopted
    assert "0 of the 0 files that the database refers to, and 1 other file" in adopted
    assert "dspt gc --dry-run" in adopted
    ensure(wrong)
    assert "Nothing to delete." in dspt(wrong, "gc")  # younger than the grace period
    with pytest.raises(InstallationError):
        ensure(other)  # whose storage it was


def test_the_doctor_reports_a_mix_up(context: Context, other: Context) -> None:
    wrong = environment_of(mixed(context, other))
    result = invoke(["doctor", "--json"], env=wrong)
    assert result.exit_code == 1
    findings = json.loads(result.stdout)["findings"]
    (found,) = [finding for finding in findings if finding["check"] == "installation"]
    assert found["state"] == "fail"
    assert "The database belongs to installation ins_" in found["found"]


@pytest.mark.parametrize("command", ["api", "worker", "gc"])
def test_the_commands_refuse_in_one_sentence(
    context: Context, other: Context, command: str, warm_start: Warm, tmp_path: Path
) -> None:
    log = tmp_path / "command.log"
    sentence = refused(
        warm_start, log, command, **environment_of(mixed(context, other)), DSPT_GC_SECONDS="0.1"
    )
    assert sentence.startswith("The database belongs to installation ins_")
    assert "`dspt storage adopt`" in sentence
    assert files_in(other) == {KEY}


@pytest.mark.parametrize(
    ("command", "settings", "reason"),
    [
        ("api", {"DSPT_DATABASE_URL": "mysql://x"}, "mysql is not supported; use sqlite:///FILE"),
        ("worker", {"DSPT_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "cannot use the database:"),
        ("worker", {"DSPT_DATABASE_URL": "sqlite:////proc/x/dspt.db"}, "cannot use the database:"),
        ("api", {"DSPT_STORAGE_URL": "gs://b/x"}, "DSPT_STORAGE_URL: cannot use the storage: gs:"),
        (
            "worker",
            {"DSPT_STORAGE_URL": "s3://b/x", "DSPT_S3_ENDPOINT": "http://127.0.0.1:9"}
            | CREDENTIALS,
            "DSPT_STORAGE_URL: cannot use the storage: ",
        ),
        ("worker", {"DSPT_MIGRATE_AT_START": "false"}, "Run `dspt db upgrade`"),
    ],
)
def test_a_start_that_fails_prints_one_sentence(
    tmp_path: Path, command: str, settings: dict[str, str], reason: str, warm_start: Warm
) -> None:
    log = tmp_path / "command.log"
    assert reason in refused(warm_start, log, command, DSPT_DATA_DIR=str(tmp_path), **settings)


@on_both
def test_a_schema_that_is_too_new_is_reported(
    context: Context, warm_start: Warm, tmp_path: Path
) -> None:
    with context.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        session.execute(text("UPDATE schema_compatibility SET minimum_revision = '9999'"))
    sentence = refused(warm_start, tmp_path / "api.log", "api", **environment_of(context))
    assert sentence.startswith("The schema of the database is newer than this version of DSPT can")
    result = invoke(["keys", "list"], env=environment_of(context))
    assert result.exit_code == 1
    assert "The schema of the database is newer" in result.output


def test_a_worker_with_the_broker_of_another_installation(
    context: Context, other: Context, redis: RedisServer, warm_start: Warm, tmp_path: Path
) -> None:
    """Such as one with DSPT_BROKER_URL, but without DSPT_DATABASE_URL."""
    broker = redis.emptied()
    with running(context.settings.model_copy(update={"broker_url": broker})):
        environment = environment_of(other) | {"DSPT_BROKER_URL": broker}
        sentence = refused(warm_start, tmp_path / "worker.log", "worker", **environment)
    assert sentence.startswith("The database belongs to installation ins_")
    assert "DSPT_DATABASE_URL and DSPT_BROKER_URL" in sentence
    settings = other.settings.model_copy(update={"broker_url": broker})
    with pytest.raises(StartError, match="To use this broker"):
        prepare(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSPT_BROKER_URL", broker)
        dspt(other, "storage", "adopt")
    prepare(settings).close()


def refused(warm_start: Warm, log: Path, command: str, **environment: str) -> str:
    """Run a command that must fail; return the one sentence that it prints."""
    defaults = {"DSPT_BROKER_URL": "redis://127.0.0.1:1/0", "DSPT_PORT": str(free_port())}
    result = warm_start.run([command], clean_environment(**(defaults | environment)), log)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]  # below the log of the migrations
    assert line.startswith(f"dspt {command}: ")
    return line.removeprefix(f"dspt {command}: ")


def unmark_database(context: Context) -> None:
    with context.database.write() as session:
        session.execute(delete(Installation))
