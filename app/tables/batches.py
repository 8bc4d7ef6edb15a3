"""Tables of batches, and of their results."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dspt_client.schemas.batches import BatchStatus
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.kit import storage_keys
from app.kit.db import Base

#: States in which a worker holds a lease on the batch.
LEASED = frozenset({BatchStatus.RUNNING, BatchStatus.CANCELLING})
#: States of an ended batch.
TERMINAL = frozenset({BatchStatus.SUCCEEDED, BatchStatus.FAILED, BatchStatus.CANCELLED})


def _listed(statuses: Any) -> str:
    return ", ".join(f"'{status}'" for status in sorted(statuses))


class Batch(Base):
    """Many images that a worker classifies with one model. The row is the source of truth."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint(f"status IN ({_listed(BatchStatus)})", name="status"),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint("done >= 0", name="done"),
        CheckConstraint(
            f"(finished_at IS NOT NULL) = (status IN ({_listed(TERMINAL)}))", name="finished"
        ),
        CheckConstraint("(error IS NOT NULL) = (status = 'failed')", name="error"),
        CheckConstraint(
            f"(lease_owner IS NOT NULL) = (status IN ({_listed(LEASED)}))", name="lease_owner"
        ),
        Index("ix_batches_status_id", "status", "id"),
        Index("ix_batches_owner_id", "owner", "id"),
        UniqueConstraint("idempotency_digest", name="uq_batches_idempotency_key"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Owner of the key that created it; other owners cannot see it.
    owner: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    #: Time when it was last queued: created, retried, or returned by a worker.
    queued_at: Mapped[datetime]
    #: Time of the first claim by a worker.
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: Number of claims since results were last stored.
    attempt: Mapped[int] = mapped_column(default=0)

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

    #: Number of images; null until a worker has opened the zip.
    images: Mapped[int | None]
    #: Number of images with a stored result.
    done: Mapped[int] = mapped_column(default=0)
    #: Number of those that are unreadable.
    unreadable: Mapped[int] = mapped_column(default=0)
    #: {code, message, param, problems} of a failed batch.
    error: Mapped[dict[str, Any] | None]

    #: A new random id per claim, so that a worker that lost its claim can no longer write.
    lease_owner: Mapped[str | None] = mapped_column(String(40))
    #: Changes as long as the worker is alive; never compared with a clock.
    lease_renewed_at: Mapped[datetime | None]
    #: Time when the broker last accepted the message of the queued batch.
    sent_at: Mapped[datetime | None]

    #: `owner_digest` of the Idempotency-Key.
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))
    #: SHA-256 (hex) of the request, to tell a repeated request from a different one.
    request_sha256: Mapped[str] = mapped_column(String(64))
    #: X-Request-ID of the request that created or retried it.
    request_id: Mapped[str | None] = mapped_column(String(128))

    @property
    def storage_key(self) -> str | None:
        """Storage key of the uploaded zip; None if there is none, or no more."""
        if self.dataset_id is not None or self.status == BatchStatus.SUCCEEDED:
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
