"""Migrations apart from the start, newer schemas, and a role that owns nothing."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest.mock import Mock

import psycopg
import pytest
from alembic.script import ScriptDirectory
from dspt_client.schemas.status import Status
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError
from typer.testing import Result

import app.migrations
from app.installation import start
from app.installation.start import StartError, prepare
from app.kit import schema
from app.kit.context import Context
from app.kit.db import Database
from app.kit.schema import OlderSchemaError, alembic_config, check_schema, migrate, revisions
from app.main import create_app
from tests.commands import invoke
from tests.integration.conftest import context_of, local_client, post_job, settings_for
from tests.integration.jobs import bring_to, lose
from tests.services import postgres_database

NEWEST = revisions()[-1]
LATER = f'''
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{NEWEST}"
branch_labels = depends_on = None
minimum_revision = "MINIMUM"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("colour", sa.String(20), server_default="red", nullable=False))
'''


@contextmanager
def later_version(folder: Path, minimum: str) -> Iterator[None]:
    """A later version of DSPT, which has one migration more."""
    scripts = folder / "later"
    shutil.copytree(Path(app.migrations.__file__).parent, scripts)
    (scripts / "versions" / "9999_later.py").write_text(LATER.replace("MINIMUM", minimum))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "SCRIPTS", scripts)
        yield


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_DATA_DIR", str(tmp_path / "data"))


def dspt(*arguments: str, **environment: str) -> Result:
    return invoke(arguments, env=environment)


def revision_in(url: str) -> str | None:
    database = Database(url)
    with closing(database), database.engine.connect() as connection:
        return schema.current_revision(connection)


def test_an_expansion_lets_the_version_before_it_go_on(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with later_version(tmp_path, NEWEST):
        migrate(empty_database_url)
    log = Mock()
    monkeypatch.setattr(start, "_log", log)
    settings = settings_for(empty_database_url, tmp_path / "data")
    with local_client(create_app(settings)) as client:
        job = post_job(client)
        assert client.get(f"/jobs/{job['id']}").json()["status"] == "queued"
        bring_to(context_of(client), Status.SUCCEEDED)
    (warning,) = [call.args[0] for call in log.warning.call_args_list]
    assert f"(9999) is newer than this version of DSPT ({NEWEST})" in warning
    for command in ("upgrade", "check"):
        result = dspt("db", command, DSPT_DATABASE_URL=empty_database_url)
        assert result.exit_code == 0
        assert "is newer than this version" in result.output
    assert revision_in(empty_database_url) == "9999"


def test_a_contraction_stops_the_version_before_it(empty_database_url: str, tmp_path: Path) -> None:
    with later_version(tmp_path, "9999"):
        migrate(empty_database_url)
        migrate(empty_database_url)  # the later version itself goes on
    settings = settings_for(empty_database_url, tmp_path / "data")
    for migrating in (True, False):
        with pytest.raises(StartError, match="newer than this version of DSPT can use"):
            prepare(settings.model_copy(update={"migrate_at_start": migrating}))
    result = dspt("db", "upgrade", DSPT_DATABASE_URL=empty_database_url)
    assert result.exit_code == 1
    assert "newer than this version of DSPT can use" in result.output


def test_migrations_apart_from_the_start(empty_database_url: str, tmp_path: Path) -> None:
    """`test_installation` starts the commands that refuse."""
    environment = {"DSPT_DATABASE_URL": empty_database_url, "DSPT_MIGRATE_AT_START": "false"}
    with pytest.raises(OlderSchemaError, match=r"has no tables yet.*`dspt db upgrade`"):
        check_schema(empty_database_url)
    for command in (["db", "check"], ["keys", "list"]):
        result = dspt(*command, **environment)
        assert result.exit_code == 1
        assert "Run `dspt db upgrade`" in result.output
    assert revision_in(empty_database_url) is None
    for _ in range(2):
        assert dspt("db", "upgrade", **environment).exit_code == 0
    with later_version(tmp_path, NEWEST), pytest.raises(OlderSchemaError, match=rf"{NEWEST}.*9999"):
        check_schema(empty_database_url)
    assert "has the schema of this version" in dspt("db", "check", **environment).output
    settings = settings_for(empty_database_url, tmp_path / "data")
    prepare(settings.model_copy(update={"migrate_at_start": False})).close()


def test_commands_that_change_nothing_migrate_nothing(
    empty_database_url: str, tmp_path: Path
) -> None:
    environment = {"DSPT_DATABASE_URL": empty_database_url}
    assert dspt("db", "upgrade", **environment).exit_code == 0
    with later_version(tmp_path, NEWEST):
        for command in (["keys", "list"], ["gc", "--dry-run"]):
            result = dspt(*command, **environment)
            assert result.exit_code == 1
            assert f"has the schema {NEWEST}" in result.output
    assert revision_in(empty_database_url) == NEWEST


@pytest.mark.parametrize(
    "command",
    [
        *("keys list", "keys rotate key_1", "keys revoke key_1"),
        *("gc", "gc --dry-run", "db check", "backup copy"),
    ],
)
def test_a_mistyped_data_directory_is_named_and_not_made(command: str, tmp_path: Path) -> None:
    place = tmp_path / "mistyped"
    result = dspt(*command.split(), "--data-dir", str(place))
    assert result.exit_code == 1
    assert f"There is no database {place}/dspt.db" in result.output
    assert not place.exists()


def test_the_names_of_the_files_are_the_revisions_in_order() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    newest_first = [script.revision for script in scripts.walk_revisions()]
    assert revisions() == newest_first[::-1]


def test_every_migration_names_the_oldest_version_that_can_use_its_schema() -> None:
    for script in ScriptDirectory.from_config(alembic_config()).walk_revisions():
        if script.revision >= "0008":
            assert script.module.minimum_revision in revisions()


@pytest.fixture
def role(postgres_template: str) -> Iterator[tuple[str, str]]:
    """A database with tables, and the same with a role that does not exist yet."""
    name = f"service_{uuid.uuid4().hex[:8]}"
    with postgres_database(postgres_template) as owner:
        yield owner, make_url(owner).set(username=name, password="s3cret").render_as_string(False)
        with psycopg.connect(owner) as connection:
            connection.execute(f"DROP OWNED BY {name}")
            connection.execute(f"DROP ROLE {name}")


def assert_changes_no_table(context: Context) -> None:
    for statement in (
        "CREATE TABLE x (y int)",
        "CREATE TEMPORARY TABLE x (y int)",
        "DROP TABLE jobs",
        "ALTER TABLE jobs ADD COLUMN x int",
        "ALTER TABLE jobs DISABLE TRIGGER USER",
        "TRUNCATE job_events",
        "UPDATE alembic_version SET version_num = '0001'",
        "CREATE ROLE x",
    ):
        with (
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
            context.database.write() as session,
        ):
            session.execute(text(statement))


def test_a_role_that_reads_and_writes_rows_only(role: tuple[str, str], tmp_path: Path) -> None:
    owner, service = role
    environment = {"DSPT_OWNER_DATABASE_URL": owner, "DSPT_DATABASE_URL": service}
    for _ in range(2):
        result = dspt("db", "upgrade", **environment)
        assert result.exit_code == 0, result.output
        assert "can read and write rows" in result.output
    settings = settings_for(service, tmp_path / "data")
    assert settings.migrate_at_start  # nothing is left to migrate, so that it works, too
    with local_client(create_app(settings)) as client:
        context = context_of(client)
        post_job(client)
        bring_to(context, Status.RUNNING)
        assert lose(context) == 1
        job_id = bring_to(context, Status.SUCCEEDED)
        assert client.delete(f"/jobs/{job_id}").status_code == 204
        assert dspt("gc", **environment).exit_code == 0
        assert_changes_no_table(context)

    # A restore makes the tables again, as the owner, and the service can use them as before.
    backup = str(tmp_path / "backup")
    dspt("backup", backup, **environment)  # the files of jobs that did not really run are missing
    result = dspt("restore", backup, "--replace", "--incomplete", **environment)
    assert result.exit_code == 0, result.output
    assert "can read and write rows" in result.output
    with local_client(create_app(settings)) as client:
        job = post_job(client)
        assert client.delete(f"/jobs/{job['id']}").status_code == 409  # it is queued
        assert client.post(f"/jobs/{job['id']}/cancel").status_code == 202
        assert client.delete(f"/jobs/{job['id']}").status_code == 204
        assert_changes_no_table(context_of(client))


@pytest.mark.parametrize(
    ("owner", "service", "reason"),
    [
        ("postgresql://a@h/x", "postgresql://b@h/y", "are different databases"),
        ("postgresql://a@h/x", "postgresql://a@h/x", "must have a role of its own"),
        ("sqlite:////x", "sqlite:////x", "SQLite has no roles"),
    ],
)
def test_two_urls_that_do_not_belong_together(owner: str, service: str, reason: str) -> None:
    from app.migrations.roles import grant

    with pytest.raises(ValueError, match=reason):
        grant(owner, service)
