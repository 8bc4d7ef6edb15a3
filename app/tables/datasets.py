"""The table of data sets: uploaded ones, and those with labels corrected."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base


class Dataset(Base):
    """One zip as it was uploaded, or corrections of the labels in one. Never changed.

    What is in a zip is found out by each job.
    """

    __tablename__ = "datasets"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size"),
        UniqueConstraint("identity", name="uq_datasets_sha256"),
        CheckConstraint("(relabelled IS NULL) = (parent_id IS NULL)", name="relabelled"),
        CheckConstraint("(dropped IS NULL) = (parent_id IS NULL)", name="dropped"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Whose key sent it; nobody else sees it.
    owner: Mapped[str] = mapped_column(String(100), index=True)
    #: SHA-256 (hex) of the file.
    sha256: Mapped[str] = mapped_column(String(64))
    #: `owner_digest` of the file: the same zip of one owner, or the same corrections of it, are
    #: stored once. The same zip of another owner is stored separately.
    identity: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    #: Of the zip as it was uploaded.
    filename: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]
    #: When its file was deleted by retention; jobs on it stay, and cannot be tried again.
    expired_at: Mapped[datetime | None]

    #: Of corrections: the zip that they are made to. All of them since the upload, never a link in
    #: a chain, so that those in between may go.
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    #: Of corrections: files with another class than in the zip.
    relabelled: Mapped[int | None]
    #: Of corrections: files that are left out.
    dropped: Mapped[int | None]

    @property
    def storage_key(self) -> str:
        """Named by id, not by digest: a zip uploaded while its twin is deleted keeps its file."""
        return f"datasets/{self.id}.{'zip' if self.parent_id is None else 'json'}"
