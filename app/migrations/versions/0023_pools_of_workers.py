"""Pools of workers"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
#: Earlier code works for the pool `default`, in which its rows are.
minimum_revision = "0008"

_TABLES = ("jobs", "batches", "comparisons", "workers")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(
            table,
            sa.Column("pool", sa.String(length=40), nullable=False, server_default="default"),
        )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "pool")
