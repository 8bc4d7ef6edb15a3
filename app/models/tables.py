"""The table of tuned classifiers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base


class Model(Base):
    """A tuned classifier; its artefact lies in the storage. Outlives the job that made it."""

    __tablename__ = "models"
    __table_args__ = (
        CheckConstraint("served IN ('tuned', 'zero_shot')", name="served"),
        Index("ix_models_owner_id", "owner", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Whose it is; nobody else sees it.
    owner: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )
    created_at: Mapped[datetime]
    backbone: Mapped[str] = mapped_column(String(200))
    backbone_digest: Mapped[str] = mapped_column(String(64))
    classes: Mapped[list[Any]]
    config: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    #: Which of the two classifiers answers: `tuned`, or `zero_shot` where tuning did not help.
    served: Mapped[str] = mapped_column(String(16))
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    #: SHA-256 (hex) of the artefact.
    sha256: Mapped[str] = mapped_column(String(64))

    @property
    def storage_key(self) -> str:
        return artifact_key(self.id)


def artifact_key(model_id: str) -> str:
    """Where the artefact of a model lies in the storage."""
    return f"models/{model_id}.safetensors"
