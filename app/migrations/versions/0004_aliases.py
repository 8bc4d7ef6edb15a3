"""Aliases of models, and how they moved"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

TIME = sa.DateTime(timezone=True)

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQLITE_TRIGGERS = """
CREATE TRIGGER alias_moves_no_update BEFORE UPDATE ON alias_moves
BEGIN SELECT RAISE(ABORT, 'alias_moves is append-only'); END;

CREATE TRIGGER alias_moves_no_delete BEFORE DELETE ON alias_moves
BEGIN SELECT RAISE(ABORT, 'alias_moves is append-only'); END
"""

POSTGRESQL_TRIGGERS = """
CREATE FUNCTION alias_moves_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING MESSAGE = 'alias_moves is append-only';
END $$;

CREATE TRIGGER alias_moves_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON alias_moves
FOR EACH STATEMENT EXECUTE FUNCTION alias_moves_guard()
"""


def upgrade() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("moved_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_aliases_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_model_aliases"),
        sa.UniqueConstraint("owner", "name", name="uq_model_aliases_owner"),
    )
    op.create_index("ix_model_aliases_model_id", "model_aliases", ["model_id"])
    op.create_table(
        "alias_moves",
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("alias", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=True),
        sa.Column("previous_model_id", sa.String(length=40), nullable=True),
        sa.Column("rollback_to", sa.Integer(), nullable=True),
        sa.Column("moved_at", TIME, nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.CheckConstraint("rollback_to < number", name="rollback_to"),
        sa.PrimaryKeyConstraint("owner", "alias", "number", name="pk_alias_moves"),
    )
    if op.get_bind().dialect.name == "postgresql":
        statements = POSTGRESQL_TRIGGERS
    else:
        statements = SQLITE_TRIGGERS
    for statement in statements.strip().split("\n\n"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.drop_table("alias_moves")
    op.drop_table("model_aliases")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION alias_moves_guard")
