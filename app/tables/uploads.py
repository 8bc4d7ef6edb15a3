"""The tables of uploads in parts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit import storage_keys
from app.kit.db import Base


class Upload(Base):
    """A zip that arrives in parts. Deleted once it is a data set, or when it expires."""

    __tablename__ = "uploads"
    __table_args__ = (CheckConstraint("size_bytes > 0 AND part_bytes > 0", name="size"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100), index=True)
    #: `owner_digest` of the declared SHA-256: who sends the same zip again goes on. Null without.
    identity: Mapped[str | None] = mapped_column(String(64), index=True)
    #: Declared SHA-256 (hex) of the whole file.
    sha256: Mapped[str | None] = mapped_column(String(64))
    filename: Mapped[str] = mapped_column(String(255))
    #: Declared size of the whole file.
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    #: Size of each part but the last.
    part_bytes: Mapped[int]
    #: Bytes that count against the owner's quota; 0 once the data set counts in its place.
    reserved_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    #: Time of the last part.
    touched_at: Mapped[datetime] = mapped_column(index=True)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.size_bytes // self.part_bytes)

    def bytes_of(self, number: int) -> int:
        """Return the size of part `number` (1, 2, ...)."""
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)


class UploadPart(Base):
    """A part that has arrived and is stored."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(
        ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True
    )
    #: 1, 2, ...
    number: Mapped[int] = mapped_column(primary_key=True)

    @property
    def storage_key(self) -> str:
        return storage_keys.upload_part(self.upload_id, self.number)
