"""The table of predictions whose photo is kept for feedback."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit import storage_keys
from app.kit.db import Base


class CapturedPrediction(Base):
    """The answer for one image; the image is in the storage. Deleted by age and number."""

    __tablename__ = "captured_predictions"
    __table_args__ = (
        CheckConstraint("(label IS NULL) = (labelled_at IS NULL)", name="labelled_at"),
        CheckConstraint("size_bytes >= 0", name="size"),
        Index("ix_captured_predictions_model_id_id", "model_id", "id"),
        Index("ix_captured_predictions_model_id_margin", "model_id", "margin", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Owner of the model.
    owner: Mapped[str] = mapped_column(String(100), index=True)
    #: Null: the model was deleted, and garbage collection deletes this row and its photo.
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(index=True)
    #: Name of the file in the request.
    file: Mapped[str] = mapped_column(String(255))
    #: Most likely class, and its probability.
    predicted: Mapped[str] = mapped_column(String(1000))
    score: Mapped[float]
    #: Probability of the most likely class minus that of the second one.
    margin: Mapped[float]
    #: Base64 of float16.
    features: Mapped[str] = mapped_column(Text, deferred=True)
    #: From the photos that the model was tuned on; null if the model has no class means.
    distance: Mapped[float | None]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    #: The correct class, from a person; it may be one that the model does not have.
    label: Mapped[str | None] = mapped_column(String(1000))
    labelled_at: Mapped[datetime | None]

    @property
    def storage_key(self) -> str:
        return storage_keys.capture(self.id)
