"""Predictions of jobs on the measured images, what corrections changed, confirmed labels"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
#: Earlier code ignores the new columns.
minimum_revision = "0008"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("predictions_key", sa.String(length=200), nullable=True))
    op.add_column("jobs", sa.Column("change", JSON, nullable=True))
    op.add_column("datasets", sa.Column("confirmed", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "confirmed")
    op.drop_column("jobs", "change")
    op.drop_column("jobs", "predictions_key")
