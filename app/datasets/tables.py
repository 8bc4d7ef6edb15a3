"""The table of uploaded data sets."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base


class Dataset(Base):
    """One zip as it was uploaded. Never changed; what is in it is found out by each job."""

    __tablename__ = "datasets"
    __table_args__ = (CheckConstraint("size_bytes >= 0", name="size"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: SHA-256 (hex) of the file: the same zip is stored once.
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    filename: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]

    @property
    def storage_key(self) -> str:
        """Named by id, not by digest: a zip uploaded while its twin is deleted keeps its file."""
        return f"datasets/{self.id}.zip"
