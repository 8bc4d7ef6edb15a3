"""Run by Alembic: migrations on the connection that app.kit.schema.migrate hands over."""

from __future__ import annotations

from alembic import context

from app import tables as _tables  # noqa: F401 - declares all tables on Base
from app.kit.db import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
