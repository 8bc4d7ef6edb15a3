"""Databases of tests on PostgreSQL: one that comes back is as new, or is not lent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dspt_client.schemas.status import Status
from sqlalchemy import NullPool, create_engine, make_url, text

from app.kit.context import Context
from tests.integration.conftest import settings_for
from tests.integration.jobs import bring_to, read_job
from tests.services import PostgresCopies


@pytest.fixture
def copies(postgres_template: str) -> Iterator[PostgresCopies]:
    opened = PostgresCopies(postgres_template)
    yield opened
    opened.close()


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def test_a_copy_is_emptied_and_lent_again(
    copies: PostgresCopies, postgres_template: str, tmp_path: Path
) -> None:
    with copies.lend() as first, copies.lend() as other:
        assert first != other
        context = Context.open(settings_for(first, tmp_path))
        job = bring_to(context, Status.SUCCEEDED)
        assert read_job(context, job).status == Status.SUCCEEDED
        hung = context.database.engine.connect()
        hung.execute(text("LOCK TABLE jobs"))  # the server hangs up on it
    with copies.lend() as one, copies.lend() as two:
        assert {one, two} == {first, other}
        tables = execute(postgres_template, "SELECT relname FROM pg_stat_user_tables")
        assert len(tables) > 20
        for (table,) in tables:
            rows = f"SELECT * FROM {table}"
            assert execute(first, rows) == execute(postgres_template, rows), table
    hung.invalidate()
    hung.close()
    context.close()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE jobs ADD COLUMN more integer",
        "ALTER TABLE jobs ALTER COLUMN name DROP NOT NULL",
        "CREATE TABLE more (id integer)",
        "DROP TABLE webhooks CASCADE",
        "CREATE INDEX more ON jobs (name)",
        "ALTER TABLE job_events DISABLE TRIGGER ALL",
        "REVOKE ALL ON jobs FROM CURRENT_USER",
        "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "DELETE FROM job_steps",
        "UPDATE alembic_version SET version_num = '9999'",
    ],
)
def test_a_copy_that_was_changed_is_not_lent_again(copies: PostgresCopies, change: str) -> None:
    with copies.lend() as changed:
        execute(changed, change)
    with copies.lend() as other:
        assert other != changed
