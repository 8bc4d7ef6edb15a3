"""Owners and API keys, retries of jobs, retention, leases without a clock"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: Transitions that this revision adds (app.tables.job_state.STEPS at this revision).
STEPS = (("failed", "queued"), ("cancelled", "queued"))

#: Owner of what was created before there were keys.
OWNER = "local"

# As text, because Alembic cannot change a table of SQLite without recreating it, and that would
# drop its triggers.
COLUMNS = """
ALTER TABLE jobs RENAME COLUMN lease_expires_at TO lease_renewed_at;
ALTER TABLE jobs RENAME COLUMN idempotency_key TO idempotency_digest;
ALTER TABLE jobs ADD COLUMN owner VARCHAR(100) NOT NULL DEFAULT 'local';
ALTER TABLE models ADD COLUMN owner VARCHAR(100) NOT NULL DEFAULT 'local';
ALTER TABLE datasets ADD COLUMN owner VARCHAR(100) NOT NULL DEFAULT 'local';
ALTER TABLE datasets RENAME COLUMN sha256 TO identity;
ALTER TABLE datasets ADD COLUMN sha256 VARCHAR(64) NOT NULL DEFAULT ''
"""

# The triggers may stay as they are. Keys of idempotency are digests now, which nothing turns back.
DOWN = """
DROP INDEX ix_jobs_owner_id;
DROP INDEX ix_models_owner_id;
DROP INDEX ix_datasets_owner;
ALTER TABLE jobs DROP COLUMN owner;
ALTER TABLE models DROP COLUMN owner;
ALTER TABLE datasets DROP COLUMN owner;
ALTER TABLE datasets DROP COLUMN expired_at;
UPDATE datasets SET identity = sha256;
ALTER TABLE datasets DROP COLUMN sha256;
ALTER TABLE datasets RENAME COLUMN identity TO sha256;
UPDATE jobs SET idempotency_digest = NULL;
ALTER TABLE jobs RENAME COLUMN idempotency_digest TO idempotency_key;
ALTER TABLE jobs RENAME COLUMN lease_renewed_at TO lease_expires_at
"""

SQLITE_RETENTION = """
DROP TRIGGER job_events_no_delete;

CREATE TRIGGER job_events_no_delete BEFORE DELETE ON job_events
WHEN EXISTS (
    SELECT 1 FROM jobs WHERE id = OLD.job_id
    AND (OLD.type = 'status' OR status NOT IN ('succeeded', 'failed', 'cancelled'))
)
BEGIN SELECT RAISE(ABORT, 'job_events is append-only'); END
"""

POSTGRESQL_RETENTION = """
CREATE OR REPLACE FUNCTION job_events_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (
        SELECT 1 FROM jobs WHERE id = OLD.job_id
        AND (OLD.type = 'status' OR status NOT IN ('succeeded', 'failed', 'cancelled'))
    ) THEN
        RETURN OLD;
    END IF;
    RAISE check_violation USING MESSAGE = 'job_events is append-only';
END $$
"""


def upgrade() -> None:
    for statement in COLUMNS.split(";"):
        op.execute(statement.strip())
    _name_by_owner()
    op.add_column("datasets", sa.Column("expired_at", TIME, nullable=True))
    op.create_index("ix_jobs_owner_id", "jobs", ["owner", "id"])
    op.create_index("ix_models_owner_id", "models", ["owner", "id"])
    op.create_index("ix_datasets_owner", "datasets", ["owner"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.bulk_insert(
        sa.table("job_steps", sa.column("source", sa.String), sa.column("target", sa.String)),
        [{"source": source, "target": target} for source, target in STEPS],
    )
    if op.get_bind().dialect.name == "postgresql":
        retention = POSTGRESQL_RETENTION
    else:
        retention = SQLITE_RETENTION
    for statement in retention.strip().split("\n\n"):
        op.get_bind().exec_driver_sql(statement)


def _name_by_owner() -> None:
    """What is unique is unique within an owner from now on."""
    bind = op.get_bind()
    for row in bind.execute(sa.text("SELECT id, identity FROM datasets")).all():
        bind.execute(
            sa.text("UPDATE datasets SET sha256 = :old, identity = :new WHERE id = :id"),
            {"id": row.id, "old": row.identity, "new": _digest(row.identity)},
        )
    jobs = "SELECT id, idempotency_digest AS key FROM jobs WHERE idempotency_digest IS NOT NULL"
    for row in bind.execute(sa.text(jobs)).all():
        bind.execute(
            sa.text("UPDATE jobs SET idempotency_digest = :new WHERE id = :id"),
            {"id": row.id, "new": _digest(row.key)},
        )


def _digest(text: str) -> str:
    """As app.kit.ids.owned does it."""
    return hashlib.sha256(f"{OWNER}\0{text}".encode()).hexdigest()


def downgrade() -> None:
    op.drop_table("api_keys")
    for statement in DOWN.split(";"):
        op.execute(statement.strip())
    delete = sa.text("DELETE FROM job_steps WHERE source = :source AND target = :target")
    for source, target in STEPS:
        op.get_bind().execute(delete, {"source": source, "target": target})
