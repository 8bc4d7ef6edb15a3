"""Comparisons, and the traces and working time of batches"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
#: Earlier code ignores the new table and columns.
minimum_revision = "0008"


def upgrade() -> None:
    op.add_column("batches", sa.Column("traceparent", sa.String(length=55), nullable=True))
    op.add_column(
        "batches",
        sa.Column("worked_seconds", sa.Double(), nullable=False, server_default="0"),
    )
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("queued_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("a_model_id", sa.String(length=40), nullable=False),
        sa.Column("b_model_id", sa.String(length=40), nullable=False),
        sa.Column("a_alias", sa.String(length=63), nullable=True),
        sa.Column("b_alias", sa.String(length=63), nullable=True),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("all_photos", sa.Boolean(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("result", JSON, nullable=True),
        sa.Column("error", JSON, nullable=True),
        sa.Column("lease_owner", sa.String(length=40), nullable=True),
        sa.Column("lease_renewed_at", TIME, nullable=True),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("idempotency_digest", sa.String(length=64), nullable=True),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("traceparent", sa.String(length=55), nullable=True),
        sa.CheckConstraint(
            "status IN ('cancelled', 'cancelling', 'failed', 'queued', 'running', 'succeeded')",
            name=op.f("ck_comparisons_status"),
        ),
        sa.CheckConstraint("attempt >= 0", name=op.f("ck_comparisons_attempt")),
        sa.CheckConstraint("done >= 0", name=op.f("ck_comparisons_done")),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('cancelled', 'failed', 'succeeded'))",
            name=op.f("ck_comparisons_finished"),
        ),
        sa.CheckConstraint(
            "(error IS NOT NULL) = (status = 'failed')", name=op.f("ck_comparisons_error")
        ),
        sa.CheckConstraint(
            "(lease_owner IS NOT NULL) = (status IN ('cancelling', 'running'))",
            name=op.f("ck_comparisons_lease_owner"),
        ),
        sa.CheckConstraint(
            "(result IS NOT NULL) = (status = 'succeeded')", name=op.f("ck_comparisons_result")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparisons")),
        sa.UniqueConstraint("idempotency_digest", name="uq_comparisons_idempotency_key"),
    )
    op.create_index("ix_comparisons_status_id", "comparisons", ["status", "id"])
    op.create_index("ix_comparisons_owner_id", "comparisons", ["owner", "id"])


def downgrade() -> None:
    op.drop_table("comparisons")
    op.drop_column("batches", "worked_seconds")
    op.drop_column("batches", "traceparent")
