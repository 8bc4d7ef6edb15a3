"""Tables of webhooks and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dspt_client.schemas.webhooks import DeliveryStatus
from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base

_STATUSES = ", ".join(f"'{status}'" for status in sorted(DeliveryStatus))


class Webhook(Base):
    """An address that receives an owner's events. Its secret is derived and not stored."""

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled"),
        Index("ix_webhooks_owner_id", "owner", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    url: Mapped[str] = mapped_column(String(2000))
    #: Types of the events that it receives.
    events: Mapped[list[Any]]
    #: SHA-256 (hex) of the secret, to notice that the key of the service is another one.
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    #: Deliveries in a row whose last attempt failed.
    failures: Mapped[int] = mapped_column(default=0)
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(500))


class WebhookDelivery(Base):
    """One event for one webhook, written in the transaction that ends the job or batch."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        CheckConstraint(
            "(next_attempt_at IS NOT NULL) = (status = 'pending')", name="next_attempt"
        ),
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_webhook_deliveries_next_attempt_at", "next_attempt_at"),
    )

    #: The header webhook-id of all attempts.
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    #: The body of the request, a JSON text.
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), default=DeliveryStatus.PENDING)
    created_at: Mapped[datetime]
    #: Attempts since it was created or replayed. A claim counts as one.
    attempts: Mapped[int] = mapped_column(default=0)
    #: Null unless pending. A process that claims an attempt moves it past the attempt's time limit.
    next_attempt_at: Mapped[datetime | None]
    last_attempt_at: Mapped[datetime | None]
    #: Status of the last answer; null without one.
    response_status: Mapped[int | None]
    #: Why the last attempt failed.
    error: Mapped[str | None] = mapped_column(String(500))
