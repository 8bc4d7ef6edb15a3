"""Migrations on each database: the same tables as in the code, and safe when several start."""

from __future__ import annotations

import subprocess
import sys

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from app.kit.db import Base, Database
from app.kit.schema import alembic_config, migrate
from app.tables.datasets import Dataset
from app.tables.jobs import Job
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
            for name in (
                "jobs",
                "datasets",
                "models",
                "alias_moves",
                "review_verdicts",
                "installation",
                "schema_compatibility",
            ):
                checks = inspect(connection).get_check_constraints(name)
                declared = {
                    constraint.name
                    for constraint in Base.metadata.tables[name].constraints
                    if str(constraint.name).startswith("ck_")
                }
                assert {check["name"] for check in checks} == declared
    finally:
        database.close()


def test_migrating_twice_changes_nothing(empty_database_url: str) -> None:
    migrate(empty_database_url)
    before = tables(empty_database_url)
    migrate(empty_database_url)
    assert tables(empty_database_url) == before


def test_jobs_from_before_corrections_keep_their_settings_as_asked(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    try:
        with database.engine.begin() as connection:
            command.upgrade(alembic_config(connection), "0001")
            connection.execute(
                text(
                    "INSERT INTO datasets VALUES "
                    "('ds', 'ab', 1, 'a.zip', '2026-01-01 00:00:00.000000')"
                )
            )
            connection.execute(
                text(
                    "INSERT INTO jobs (id, name, status, created_at, attempt, dataset_id, config, "
                    "warnings, event_seq, request_sha256) VALUES ('job', 'a', 'queued', "
                    "'2026-01-01 00:00:00.000000', 0, 'ds', '{\"epochs\": 3}', '[]', 0, 'cd')"
                )
            )
        migrate(empty_database_url)
        with database.read() as session:
            job, dataset = session.get_one(Job, "job"), session.get_one(Dataset, "ds")
    finally:
        database.close()
    assert job.requested_config == job.config == {"epochs": 3}
    assert job.corrected_from is dataset.parent_id is dataset.relabelled is None
    assert dataset.storage_key == "datasets/ds.zip"


def test_migrating_down_leaves_nothing(empty_database_url: str) -> None:
    migrate(empty_database_url)
    database = Database(empty_database_url)
    try:
        with database.engine.begin() as connection:
            command.downgrade(alembic_config(connection), "base")
    finally:
        database.close()
    assert tables(empty_database_url) == {"alembic_version"}


def test_several_processes_may_migrate_at_once(empty_database_url: str) -> None:
    script = "import sys; from app.kit.schema import migrate; migrate(sys.argv[1])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, empty_database_url],
            stderr=subprocess.PIPE,
            env=clean_environment(),
        )
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=600)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 2, errors
    assert {"jobs", "job_events", "models", "datasets", "workers"} <= tables(empty_database_url)
