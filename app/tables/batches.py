"""Tables of batches, and of their results."""

from __future__ import annotations

from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit import storage_keys
from app.kit.db import Base
from app.tables.leased import Run, run_constraints


class Batch(Run, Base):
    """Many images that a worker classifies with one model."""

    __tablename__ = "batches"
    __table_args__ = run_constraints("batches")

    #: The model that answers; fixed when the batch is created. It may have been deleted.
    model_id: Mapped[str] = mapped_column(String(40))
    #: Alias in the request.
    alias: Mapped[str | None] = mapped_column(String(63))
    #: The data set whose images are classified; null for an uploaded zip.
    dataset_id: Mapped[str | None] = mapped_column(String(40))
    filename: Mapped[str] = mapped_column(String(255))
    #: Of the uploaded zip, which is deleted when the batch has succeeded; else 0.
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    #: {top_k, reject_below}.
    options: Mapped[dict[str, Any]]

    #: Number of done images that are unreadable.
    unreadable: Mapped[int] = mapped_column(default=0)
    #: Seconds that workers spent on the images done, since it was created or retried.
    worked_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")

    @property
    def storage_key(self) -> str | None:
        """Storage key of the uploaded zip; None if there is none, or no more."""
        if self.dataset_id is not None or self.status == Status.SUCCEEDED:
            return None
        return storage_keys.batch(self.id)


class BatchResults(Base):
    """The predictions of consecutive images of a batch, stored together with its progress."""

    __tablename__ = "batch_results"

    batch_id: Mapped[str] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True
    )
    #: Number of the first of the images: 0, ...
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: `Prediction` of each image.
    predictions: Mapped[list[Any]]
