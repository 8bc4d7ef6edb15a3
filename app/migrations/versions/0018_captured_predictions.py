"""Predictions that are kept for feedback"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

TIME = sa.DateTime(timezone=True)

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
#: Earlier code ignores the new table.
minimum_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "captured_predictions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("file", sa.String(length=255), nullable=False),
        sa.Column("predicted", sa.String(length=1000), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.Column("features", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.String(length=1000), nullable=True),
        sa.Column("labelled_at", TIME, nullable=True),
        sa.CheckConstraint(
            "(label IS NULL) = (labelled_at IS NULL)",
            name=op.f("ck_captured_predictions_labelled_at"),
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_captured_predictions_size")),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["models.id"],
            name=op.f("fk_captured_predictions_model_id_models"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_captured_predictions")),
    )
    for column in ("owner", "created_at"):
        op.create_index(op.f(f"ix_captured_predictions_{column}"), "captured_predictions", [column])
    for name, columns in (("id", ["model_id", "id"]), ("margin", ["model_id", "margin", "id"])):
        op.create_index(f"ix_captured_predictions_model_id_{name}", "captured_predictions", columns)


def downgrade() -> None:
    op.drop_table("captured_predictions")
