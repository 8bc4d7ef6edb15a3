"""The tables with the id of the installation and with the versions that can use the schema."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base


class Installation(Base):
    """The installation that this database and its storage belong to: a single row."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("number = 1", name="single"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    #: The storage has the same id in `installation.json`.
    id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]


class SchemaCompatibility(Base):
    """Which versions of the code can use the schema: a single row, written by migrations."""

    __tablename__ = "schema_compatibility"
    __table_args__ = (CheckConstraint("number = 1", name="single"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    #: The oldest Alembic revision whose code can use the schema.
    minimum_revision: Mapped[str] = mapped_column(String(32))
