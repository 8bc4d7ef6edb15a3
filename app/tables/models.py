"""Tables of tuned classifiers, aliases, and the moves of aliases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kit import storage_keys
from app.kit.db import Base


class Model(Base):
    """A tuned classifier; its artefact is in the storage. It stays when its job is deleted."""

    __tablename__ = "models"
    __table_args__ = (
        CheckConstraint("served IN ('tuned', 'zero_shot')", name="served"),
        Index("ix_models_owner_id", "owner", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Other owners cannot see it.
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
    #: Classifier in use: `tuned`, or `zero_shot` if tuning did not help.
    served: Mapped[str] = mapped_column(String(16))
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    #: SHA-256 (hex) of the artefact.
    sha256: Mapped[str] = mapped_column(String(64))
    #: Pairs of the user's own.
    user_metadata: Mapped[dict[str, Any] | None] = mapped_column("metadata")

    @property
    def storage_key(self) -> str:
        return storage_keys.model(self.id)


class ModelAlias(Base):
    """A name that points to one of its owner's models, such as `production`."""

    __tablename__ = "model_aliases"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Also the owner of the model.
    owner: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(63))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    moved_at: Mapped[datetime]
    #: Share of the predictions through it that are captured.
    capture: Mapped[float] = mapped_column(server_default="0")


class AliasMove(Base):
    """One move of an alias. Never changed; stays when alias and models are deleted."""

    __tablename__ = "alias_moves"
    __table_args__ = (CheckConstraint("rollback_to < number", name="rollback_to"),)

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    alias: Mapped[str] = mapped_column(String(63), primary_key=True)
    #: Number within the alias: 1, 2, 3, ...; continues after a deletion.
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Model after the move; null: the alias was deleted.
    model_id: Mapped[str | None] = mapped_column(String(40))
    previous_model_id: Mapped[str | None] = mapped_column(String(40))
    #: Number of the move that a rollback returns to; null if there is none.
    rollback_to: Mapped[int | None]
    moved_at: Mapped[datetime]
    #: API key of the request; null without keys.
    key_id: Mapped[str | None] = mapped_column(String(40))
