"""The oldest revision whose code can use the schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
#: The oldest revision whose code can use the schema after this migration. See docs/operations.md.
minimum_revision = "0008"


def upgrade() -> None:
    table = op.create_table(
        "schema_compatibility",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("minimum_revision", sa.String(length=32), nullable=False),
        sa.CheckConstraint("number = 1", name="single"),
        sa.PrimaryKeyConstraint("number", name="pk_schema_compatibility"),
    )
    op.bulk_insert(table, [{"number": 1, "minimum_revision": minimum_revision}])


def downgrade() -> None:
    op.drop_table("schema_compatibility")
