"""Share of the predictions through an alias that are captured"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
#: The oldest revision whose code can use the schema after this migration. See docs/operations.md.
minimum_revision = "0008"


def upgrade() -> None:
    op.add_column(
        "model_aliases",
        sa.Column("capture", sa.Double(), nullable=False, server_default="0"),
    )


def downgrade() -> None:
    op.drop_column("model_aliases", "capture")
