"""Data sets, jobs, models, workers"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


#: The steps a job may take (app.tables.job_state.STEPS at this revision).
STEPS = (
    ("queued", "validating"),
    ("queued", "cancelled"),
    ("validating", "running"),
    ("validating", "failed"),
    ("validating", "cancelling"),
    ("validating", "queued"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelling"),
    ("running", "queued"),
    ("cancelling", "cancelled"),
)

SQLITE_TRIGGERS = """
CREATE TRIGGER jobs_begin_queued BEFORE INSERT ON jobs WHEN NEW.status <> 'queued'
BEGIN SELECT RAISE(ABORT, 'a job begins as queued'); END;

CREATE TRIGGER jobs_step BEFORE UPDATE OF status ON jobs
WHEN OLD.status <> NEW.status AND NOT EXISTS (
    SELECT 1 FROM job_steps WHERE source = OLD.status AND target = NEW.status
)
BEGIN SELECT RAISE(ABORT, 'a job cannot take this step'); END;

CREATE TRIGGER jobs_delete_finished BEFORE DELETE ON jobs
WHEN OLD.status NOT IN ('succeeded', 'failed', 'cancelled')
BEGIN SELECT RAISE(ABORT, 'only a finished job can be deleted'); END;

CREATE TRIGGER job_events_no_update BEFORE UPDATE ON job_events
BEGIN SELECT RAISE(ABORT, 'job_events is append-only'); END;

CREATE TRIGGER job_events_no_delete BEFORE DELETE ON job_events
WHEN EXISTS (SELECT 1 FROM jobs WHERE id = OLD.job_id)
BEGIN SELECT RAISE(ABORT, 'job_events is append-only'); END;
"""

POSTGRESQL_TRIGGERS = """
CREATE FUNCTION jobs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'queued' THEN
            RAISE check_violation USING MESSAGE = 'a job begins as queued';
        END IF;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        IF OLD.status <> NEW.status AND NOT EXISTS (
            SELECT 1 FROM job_steps WHERE source = OLD.status AND target = NEW.status
        ) THEN
            RAISE check_violation USING MESSAGE = 'a job cannot take this step';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.status NOT IN ('succeeded', 'failed', 'cancelled') THEN
        RAISE check_violation USING MESSAGE = 'only a finished job can be deleted';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER jobs_guard BEFORE INSERT OR UPDATE OF status OR DELETE ON jobs
FOR EACH ROW EXECUTE FUNCTION jobs_guard();

CREATE FUNCTION job_events_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = OLD.job_id) THEN
        RETURN OLD;
    END IF;
    RAISE check_violation USING MESSAGE = 'job_events is append-only';
END $$;

CREATE TRIGGER job_events_guard BEFORE UPDATE OR DELETE ON job_events
FOR EACH ROW EXECUTE FUNCTION job_events_guard();

CREATE TRIGGER job_events_no_truncate BEFORE TRUNCATE ON job_events
FOR EACH STATEMENT EXECUTE FUNCTION job_events_guard();
"""


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("size_bytes >= 0", name="size"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("sha256", name="uq_datasets_sha256"),
    )
    op.create_table(
        "job_steps",
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("source", "target", name="pk_job_steps"),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("stopping", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_index("ix_workers_seen_at", "workers", ["seen_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("class_names", JSON, nullable=True),
        sa.Column("config", JSON, nullable=False),
        sa.Column("progress", JSON, nullable=True),
        sa.Column("dataset_report", JSON, nullable=True),
        sa.Column("metrics", JSON, nullable=True),
        sa.Column("audit_key", sa.String(length=200), nullable=True),
        sa.Column("warnings", JSON, nullable=False),
        sa.Column("error", JSON, nullable=True),
        sa.Column("lease_owner", sa.String(length=40), nullable=True),
        sa.Column("lease_expires_at", TIME, nullable=True),
        sa.Column("event_seq", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.CheckConstraint("(error IS NOT NULL) = (status = 'failed')", name="error"),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('cancelled', 'failed', 'succeeded'))",
            name="finished",
        ),
        sa.CheckConstraint(
            "(lease_owner IS NOT NULL) = (status IN ('cancelling', 'running', 'validating'))",
            name="lease_owner",
        ),
        sa.CheckConstraint(
            "status IN ('cancelled', 'cancelling', 'failed', 'queued', 'running', "
            "'succeeded', 'validating')",
            name="status",
        ),
        sa.CheckConstraint(
            "(lease_owner IS NULL) = (lease_expires_at IS NULL)", name="lease_expiry"
        ),
        sa.CheckConstraint("(audit_key IS NOT NULL) = (status = 'succeeded')", name="audit_key"),
        sa.CheckConstraint("attempt >= 0", name="attempt"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_jobs_dataset_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("idempotency_key", name="uq_jobs_idempotency_key"),
    )
    op.create_index("ix_jobs_dataset_id", "jobs", ["dataset_id"], unique=False)
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("type IN ('status', 'progress', 'metrics', 'warning')", name="type"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_events_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_job_events"),
    )
    op.create_table(
        "job_outbox",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("sent_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_outbox_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_outbox"),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("backbone", sa.String(length=200), nullable=False),
        sa.Column("backbone_digest", sa.String(length=64), nullable=False),
        sa.Column("classes", JSON, nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("served", sa.String(length=16), nullable=False),
        sa.Column("dataset_sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.CheckConstraint("served IN ('tuned', 'zero_shot')", name="served"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_models_job_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("job_id", name="uq_models_job_id"),
    )
    op.bulk_insert(
        sa.table("job_steps", sa.column("source", sa.String), sa.column("target", sa.String)),
        [{"source": source, "target": target} for source, target in STEPS],
    )
    if op.get_bind().dialect.name == "postgresql":
        statements = POSTGRESQL_TRIGGERS
    else:
        statements = SQLITE_TRIGGERS
    for statement in statements.strip().split("\n\n"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.drop_table("models")
    op.drop_table("job_outbox")
    op.drop_table("job_events")
    op.drop_table("jobs")
    op.drop_table("workers")
    op.drop_table("job_steps")
    op.drop_table("datasets")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION jobs_guard")
        op.execute("DROP FUNCTION job_events_guard")
