"""The table of data sets: uploaded, corrected, or with photos added."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from app.kit import storage_keys
from app.kit.db import Base


class Dataset(Base):
    """An uploaded zip, corrections of the labels in it, or a zip of photos added to it.

    Never changed. What is made from a data set refers to it, so that its file is stored once: the
    first zip and all that was made from it are a family.

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

    #: Of corrections: the corrected zip, or the zip of the last photos added to it. They include
    #: all earlier corrections, so that those can be deleted.
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    #: Of corrections: number of files with a corrected class.
    relabelled: Mapped[int | None]
    #: Of corrections: number of dropped files.
    dropped: Mapped[int | None]
    #: Of corrections: number of files whose label was confirmed; null in those of older versions.
    confirmed: Mapped[int | None]

    #: Of added photos: the data set that they were added to. Its photos and corrections belong to
    #: this one, too.
    base_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    #: The first zip of the family; null in the first zip itself, and in corrections of it by older
    #: versions of the code.
    root_id: Mapped[str | None] = mapped_column(String(40), index=True)
    #: Its number in its family: 1, 2, ...; higher than that of the data set it was made from.
    version: Mapped[int] = mapped_column(default=1, server_default="1")

    #: Pairs of the user's own.
    user_metadata: Mapped[dict[str, Any] | None] = mapped_column("metadata")

    @property
    def family_id(self) -> str:
        """Id of the first zip."""
        return self.root_id or self.parent_id or self.id

    @property
    def storage_key(self) -> str:
        """Storage key; by id, not digest, so that deleting a copy cannot delete this file."""
        return storage_keys.dataset(self.id, corrections=self.parent_id is not None)
