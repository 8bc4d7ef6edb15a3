"""Distances of captured predictions from the photos of their model"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
#: The oldest revision whose code can use the schema after this migration. See docs/operations.md.
minimum_revision = "0008"


def upgrade() -> None:
    op.add_column("captured_predictions", sa.Column("distance", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("captured_predictions", "distance")
