"""Verdicts of persons on the labels of jobs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
#: Earlier code ignores the new table; deleting a job deletes its rows.
minimum_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "review_verdicts",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("file", sa.String(length=1000), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=True),
        sa.Column("label", sa.String(length=1000), nullable=True),
        sa.Column("new_class", sa.Boolean(), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "action IN ('relabel', 'keep', 'drop')", name=op.f("ck_review_verdicts_action")
        ),
        sa.CheckConstraint(
            "(label IS NOT NULL) = (action IS NOT NULL AND action = 'relabel')",
            name=op.f("ck_review_verdicts_label"),
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_review_verdicts_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_review_verdicts"),
    )


def downgrade() -> None:
    op.drop_table("review_verdicts")
