"""Health reports of data sets, made by jobs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
#: The oldest revision whose code can use the schema after this migration. See docs/operations.md.
minimum_revision = "0008"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("health", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "health")
