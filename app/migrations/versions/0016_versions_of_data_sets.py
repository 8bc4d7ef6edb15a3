"""Versions of data sets: photos that are added to one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
#: The oldest revision whose code can use the schema after this migration. See docs/operations.md.
minimum_revision = "0008"

# As text, because Alembic cannot add a constraint to a table of SQLite without recreating it.
_BASE = """
ALTER TABLE datasets ADD COLUMN base_id VARCHAR(40)
CONSTRAINT fk_datasets_base_id REFERENCES datasets (id)
"""
_NUMBERS = """
UPDATE datasets SET version = 1 + (
    SELECT count(*) FROM datasets AS earlier
    WHERE earlier.parent_id = datasets.parent_id AND earlier.id <= datasets.id
) WHERE parent_id IS NOT NULL
"""


def upgrade() -> None:
    op.execute(_BASE.strip())
    op.add_column("datasets", sa.Column("root_id", sa.String(length=40), nullable=True))
    op.add_column(
        "datasets", sa.Column("version", sa.Integer(), nullable=False, server_default="1")
    )
    op.execute("UPDATE datasets SET root_id = parent_id")
    op.execute(_NUMBERS.strip())
    op.create_index("ix_datasets_base_id", "datasets", ["base_id"], unique=False)
    op.create_index("ix_datasets_root_id", "datasets", ["root_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_datasets_root_id", "datasets")
    op.drop_index("ix_datasets_base_id", "datasets")
    op.drop_column("datasets", "version")
    op.drop_column("datasets", "root_id")
    op.drop_column("datasets", "base_id")
