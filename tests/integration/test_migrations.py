"""Migrations on each database: the same tables as in the code, and safe when several start."""

from __future__ import annotations

import subprocess
import sys

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from app.kit.db import Base, Database, alembic_config, migrate
from tests.services import clean_environment


def tables(url: str) -> set[str]:
    database = Database(url)
    try:
        return set(inspect(database.engine).get_table_names())
    finally:
        database.close()


def test_the_migrated_tables_are_those_of_the_code(empty_database_url: str) -> None:
    migrate(empty_database_url)
    database = Database(empty_database_url)
    try:
        with database.engine.connect() as connection:
            migrations = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(migrations, Base.metadata) == []
            found = {check["name"] for check in inspect(connection).get_check_constraints("jobs")}
    finally:
        database.close()
    declared = {
        constraint.name
        for constraint in Base.metadata.tables["jobs"].constraints
        if str(constraint.name).startswith("ck_")
    }
    assert found == declared


def test_migrating_twice_changes_nothing(empty_database_url: str) -> None:
    migrate(empty_database_url)
    before = tables(empty_database_url)
    migrate(empty_database_url)
    assert tables(empty_database_url) == before


def test_migrating_down_leaves_nothing(empty_database_url: str) -> None:
    migrate(empty_database_url)
    database = Database(empty_database_url)
    try:
        with database.engine.begin() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.downgrade(config, "base")
    finally:
        database.close()
    assert tables(empty_database_url) == {"alembic_version"}


def test_several_processes_may_migrate_at_once(empty_database_url: str) -> None:
    script = "import sys; from app.kit.db import migrate; migrate(sys.argv[1])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, empty_database_url],
            stderr=subprocess.PIPE,
            env=clean_environment(),
        )
        for _ in range(4)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert {"jobs", "job_events", "models", "datasets", "workers"} <= tables(empty_database_url)
