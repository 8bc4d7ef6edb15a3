"""Corrected data sets, the job that a job corrects, settings as asked"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# As text, because Alembic cannot add a constraint to a table of SQLite without recreating it, and
# that would drop its triggers.
COLUMNS = """
ALTER TABLE datasets ADD COLUMN parent_id VARCHAR(40)
CONSTRAINT fk_datasets_parent_id REFERENCES datasets (id);

ALTER TABLE datasets ADD COLUMN relabelled INTEGER
CONSTRAINT ck_datasets_relabelled CHECK ((relabelled IS NULL) = (parent_id IS NULL));

ALTER TABLE datasets ADD COLUMN dropped INTEGER
CONSTRAINT ck_datasets_dropped CHECK ((dropped IS NULL) = (parent_id IS NULL))
"""


def upgrade() -> None:
    for statement in COLUMNS.split(";"):
        op.execute(statement.strip())
    op.add_column("jobs", sa.Column("corrected_from", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("asked_config", JSON, nullable=True))
    op.execute("UPDATE jobs SET asked_config = config")
    op.create_index("ix_datasets_parent_id", "datasets", ["parent_id"], unique=False)
    op.create_index("ix_jobs_corrected_from", "jobs", ["corrected_from"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_jobs_corrected_from", "jobs")
    op.drop_index("ix_datasets_parent_id", "datasets")
    op.drop_column("jobs", "asked_config")
    op.drop_column("jobs", "corrected_from")
    op.drop_column("datasets", "dropped")
    op.drop_column("datasets", "relabelled")
    op.drop_column("datasets", "parent_id")
