"""Run by Alembic: migrations on the connection that app.kit.db.migrate hands over."""

from __future__ import annotations

from alembic import context

from app.access import tables as _access  # noqa: F401 - declares its tables on Base
from app.datasets import tables as _datasets  # noqa: F401
from app.jobs import tables as _jobs  # noqa: F401
from app.kit.db import Base
from app.models import tables as _models  # noqa: F401

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
