"""Tables of jobs, their events, the outbox to the broker, and the workers that are about."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base
from app.tables.job_state import LEASED


def _one_of(values: frozenset[Status] | type[Status]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


class Job(Base):
    """One tuning run. The row is the truth; the broker only carries its id."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status IN ({_one_of(Status)})", name="status"),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint(
            f"(finished_at IS NOT NULL) = (status IN ({_one_of(TERMINAL)}))", name="finished"
        ),
        CheckConstraint("(error IS NOT NULL) = (status = 'failed')", name="error"),
        CheckConstraint("(audit_key IS NOT NULL) = (status = 'succeeded')", name="audit_key"),
        CheckConstraint(
            f"(lease_owner IS NOT NULL) = (status IN ({_one_of(LEASED)}))", name="lease_owner"
        ),
        CheckConstraint("(lease_owner IS NULL) = (lease_renewed_at IS NULL)", name="lease_expiry"),
        Index("ix_jobs_status_id", "status", "id"),
        Index("ix_jobs_owner_id", "owner", "id"),
        UniqueConstraint("idempotency_digest", name="uq_jobs_idempotency_key"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Whose key asked for it; nobody else sees it.
    owner: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    #: When a worker first took it.
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: How often a worker has taken it since it was made or tried again.
    attempt: Mapped[int] = mapped_column(default=0)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    #: Id of the job that a person corrected the labels of to make this one; none once that job is
    #: deleted.
    corrected_from: Mapped[str | None] = mapped_column(String(40), index=True)
    class_names: Mapped[dict[str, Any] | None]
    #: All settings; once it has succeeded, with what was left open filled in.
    config: Mapped[dict[str, Any]]
    #: The settings before anything was filled in, which a job on the same photos starts from.
    requested_config: Mapped[dict[str, Any] | None] = mapped_column("asked_config")

    #: {stage, epoch, epochs, fraction, eta_seconds} as the worker last said.
    progress: Mapped[dict[str, Any] | None]
    #: {sha256, images, classes, rejected, split} as validation found them.
    dataset_report: Mapped[dict[str, Any] | None]
    metrics: Mapped[dict[str, Any] | None]
    #: Where the audit of a succeeded job lies in the storage.
    audit_key: Mapped[str | None] = mapped_column(String(200))
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    #: {code, message, param, problems} of a failed job.
    error: Mapped[dict[str, Any] | None]

    #: Drawn anew for each claim, so that a worker that lost its claim cannot write any more.
    lease_owner: Mapped[str | None] = mapped_column(String(40))
    #: Whether this changes tells a live worker from a dead one; it is never compared with a clock.
    lease_renewed_at: Mapped[datetime | None]

    #: Number of the newest event.
    event_seq: Mapped[int] = mapped_column(default=0)
    #: Of the owner and the Idempotency-Key (app.kit.ids.owner_digest).
    idempotency_digest: Mapped[str | None] = mapped_column(String(255))
    #: SHA-256 (hex) of what was asked for, to tell a repeated request from a different one.
    request_sha256: Mapped[str] = mapped_column(String(64))
    #: X-Request-ID of the request that asked for it, or asked to try it again.
    request_id: Mapped[str | None] = mapped_column(String(128))
    #: The span of that request, where requests are traced (W3C Trace Context).
    traceparent: Mapped[str | None] = mapped_column(String(55))


class JobEvent(Base):
    """Something that happened to a job. Never changed; goes when the job goes.

    Those of a finished job, apart from its steps, may be expired before.
    """

    __tablename__ = "job_events"
    __table_args__ = (
        CheckConstraint("type IN ('status', 'progress', 'metrics', 'warning')", name="type"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    #: 1, 2, 3 ... within the job.
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class JobStep(Base):
    """A step that a job may take; a trigger on `jobs` looks here."""

    __tablename__ = "job_steps"

    source: Mapped[str] = mapped_column(String(16), primary_key=True)
    target: Mapped[str] = mapped_column(String(16), primary_key=True)


class OutboxEntry(Base):
    """A queued job that the broker is to be told of. Lives as long as the job is queued."""

    __tablename__ = "job_outbox"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    #: When the broker last took the message.
    sent_at: Mapped[datetime | None]


class Worker(Base):
    """A worker process that reports, so that a waiting job can say whether anyone will come."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    hostname: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(index=True)
    #: It is being shut down: its job goes back to the queue.
    stopping: Mapped[bool] = mapped_column(default=False)
