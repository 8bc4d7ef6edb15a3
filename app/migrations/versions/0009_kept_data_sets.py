"""Data sets that stay without jobs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
#: Code of revision 0008 can use this schema.
minimum_revision = "0008"


def upgrade() -> None:
    op.add_column(
        "datasets", sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("datasets", "kept")
