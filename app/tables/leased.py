"""The columns and constraints that all leased rows share: jobs, batches and comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import SchemaItem

from app.kit.pools import DEFAULT_POOL


class Leased:
    """A row that a worker works on under a lease. The row is the source of truth."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Owner of the key that created it; other owners cannot see it.
    owner: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    #: Pool of workers that takes it.
    pool: Mapped[str] = mapped_column(String(40), default=DEFAULT_POOL, server_default=DEFAULT_POOL)
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    #: Time of the first claim by a worker.
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: Number of claims without progress, see `Kind.made_progress`.
    attempt: Mapped[int] = mapped_column(default=0)
    #: {code, message, param, problems} of a failed row.
    error: Mapped[dict[str, Any] | None]

    #: A new random id per claim, so that a worker that lost its claim can no longer write.
    lease_owner: Mapped[str | None] = mapped_column(String(40))
    #: Changes as long as the worker is alive; never compared with a clock.
    lease_renewed_at: Mapped[datetime | None]

    #: `owner_digest` of the Idempotency-Key.
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))
    #: SHA-256 (hex) of the request, to tell a repeated request from a different one.
    request_sha256: Mapped[str] = mapped_column(String(64))
    #: X-Request-ID of the request that created or retried it.
    request_id: Mapped[str | None] = mapped_column(String(128))
    #: W3C traceparent of that request, if requests are traced.
    traceparent: Mapped[str | None] = mapped_column(String(55))


class Run(Leased):
    """A leased row other than a job: it is queued by time, and has no events."""

    #: Time when it was last queued: created, retried, or returned by a worker.
    queued_at: Mapped[datetime]
    #: Time when the broker last accepted the message of the queued row.
    sent_at: Mapped[datetime | None]
    #: Number of images; null until a worker has opened the zip.
    images: Mapped[int | None]
    #: Number of images done.
    done: Mapped[int] = mapped_column(default=0)


def listed(statuses: Iterable[str]) -> str:
    """Return the statuses as an SQL list."""
    return ", ".join(f"'{status}'" for status in sorted(statuses))


def leased_constraints(
    table: str, statuses: Iterable[str], leased: Iterable[str]
) -> tuple[SchemaItem, ...]:
    """Return the constraints and indexes of a table of leased rows."""
    return (
        CheckConstraint(f"status IN ({listed(statuses)})", name="status"),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint(
            f"(finished_at IS NOT NULL) = (status IN ({listed(TERMINAL)}))", name="finished"
        ),
        CheckConstraint("(error IS NOT NULL) = (status = 'failed')", name="error"),
        CheckConstraint(
            f"(lease_owner IS NOT NULL) = (status IN ({listed(leased)}))", name="lease_owner"
        ),
        Index(f"ix_{table}_status_id", "status", "id"),
        Index(f"ix_{table}_owner_id", "owner", "id"),
        UniqueConstraint("idempotency_digest", name=f"uq_{table}_idempotency_key"),
    )


def run_constraints(table: str) -> tuple[SchemaItem, ...]:
    """Return the constraints and indexes of a table of `Run` rows."""
    return (
        *leased_constraints(
            table, set(Status) - {Status.VALIDATING}, {Status.RUNNING, Status.CANCELLING}
        ),
        CheckConstraint("done >= 0", name="done"),
    )
