"""The table of data sets, uploaded or corrected."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.kit import storage_keys
from app.kit.db import Base


class Dataset(Base):
    """An uploaded zip, or corrections of the labels in one. Never changed.

    Each job reads the content of the zip itself.
    """

    __tablename__ = "datasets"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size"),
        UniqueConstraint("identity", name="uq_datasets_sha256"),
        CheckConstraint("(relabelled IS NULL) = (parent_id IS NULL)", name="relabelled"),
        CheckConstraint("(dropped IS NULL) = (parent_id IS NULL)", name="dropped"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Owner of the key that uploaded it; other owners cannot see it.
    owner: Mapped[str] = mapped_column(String(100), index=True)
    #: SHA-256 (hex) of the file.
    sha256: Mapped[str] = mapped_column(String(64))
    #: `owner_digest` of the file: the same zip of one owner, or the same corrections of it, are
    #: stored once. The same zip of another owner is stored separately.
    identity: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    #: File name of the uploaded zip.
    filename: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]
    #: Time when retention deleted its file; jobs on it stay, and cannot be retried.
    expired_at: Mapped[datetime | None]

    #: Whether it was uploaded by itself. Others are deleted with the last job that uses them.
    kept: Mapped[bool] = mapped_column(default=False, server_default=false())

    #: Of corrections: the corrected zip. They include all earlier corrections, so that those can be
    #: deleted.
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    #: Of corrections: number of files with a corrected class.
    relabelled: Mapped[int | None]
    #: Of corrections: number of dropped files.
    dropped: Mapped[int | None]
    #: Of corrections: number of files whose label was confirmed; null in those of older versions.
    confirmed: Mapped[int | None]

    @property
    def storage_key(self) -> str:
        """Storage key; by id, not digest, so that deleting a copy cannot delete this file."""
        return storage_keys.dataset(self.id, corrections=self.parent_id is not None)
