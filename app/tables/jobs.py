"""Tables of jobs, their events, the outbox to the broker, and workers."""

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
    """One tuning run. The row is the source of truth; the broker only carries its id."""

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
    #: Owner of the key that created it; other owners cannot see it.
    owner: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    #: Time of the first claim by a worker.
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: Number of claims since it was created or retried.
    attempt: Mapped[int] = mapped_column(default=0)

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    #: Id of the job whose labels were corrected to create this one; null once that job is deleted.
    corrected_from: Mapped[str | None] = mapped_column(String(40), index=True)
    class_names: Mapped[dict[str, Any] | None]
    #: Pairs of the user's own.
    user_metadata: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    #: All settings; once it has succeeded, with automatic values filled in.
    config: Mapped[dict[str, Any]]
    #: The settings as requested, from which a corrected job starts.
    requested_config: Mapped[dict[str, Any] | None] = mapped_column("asked_config")

    #: {stage, epoch, epochs, fraction, eta_seconds} as last reported by the worker.
    progress: Mapped[dict[str, Any] | None]
    #: {sha256, images, classes, rejected, split} as found by validation.
    dataset_report: Mapped[dict[str, Any] | None]
    #: What it found out about its data set, see dspt.report.health; null if it did not read all of
    #: it. Loaded only where it is used, because it lists files.
    health: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    metrics: Mapped[dict[str, Any] | None]
    #: Storage key of the audit of a succeeded job.
    audit_key: Mapped[str | None] = mapped_column(String(200))
    #: Storage key of the predictions for the measured images; null for jobs of earlier versions.
    predictions_key: Mapped[str | None] = mapped_column(String(200))
    #: Of a corrected job: the difference to the job that it corrects (`JobChange`).
    change: Mapped[dict[str, Any] | None]
    warnings: Mapped[list[Any]] = mapped_column(default=list)
    #: {code, message, param, problems} of a failed job.
    error: Mapped[dict[str, Any] | None]

    #: A new random id per claim, so that a worker that lost its claim can no longer write.
    lease_owner: Mapped[str | None] = mapped_column(String(40))
    #: Changes as long as the worker is alive; never compared with a clock.
    lease_renewed_at: Mapped[datetime | None]

    #: Number of the newest event.
    event_seq: Mapped[int] = mapped_column(default=0)
    #: `owner_digest` of the Idempotency-Key.
    idempotency_digest: Mapped[str | None] = mapped_column(String(255))
    #: SHA-256 (hex) of the request, to tell a repeated request from a different one.
    request_sha256: Mapped[str] = mapped_column(String(64))
    #: X-Request-ID of the request that created or retried it.
    request_id: Mapped[str | None] = mapped_column(String(128))
    #: W3C traceparent of that request, if requests are traced.
    traceparent: Mapped[str | None] = mapped_column(String(55))


class JobEvent(Base):
    """An event of a job. Never changed; deleted with the job.

    Retention may delete the events of a finished job earlier, except its state changes.
    """

    __tablename__ = "job_events"
    __table_args__ = (
        CheckConstraint("type IN ('status', 'progress', 'metrics', 'warning')", name="type"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    #: Number within the job: 1, 2, 3, ...
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class JobStep(Base):
    """An allowed state transition; a trigger on `jobs` reads this table."""

    __tablename__ = "job_steps"

    source: Mapped[str] = mapped_column(String(16), primary_key=True)
    target: Mapped[str] = mapped_column(String(16), primary_key=True)


class OutboxEntry(Base):
    """A queued job to send to the broker. Exists as long as the job is queued."""

    __tablename__ = "job_outbox"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    #: Time when the broker last accepted the message.
    sent_at: Mapped[datetime | None]


class Worker(Base):
    """A worker process with a heartbeat, so that the API knows whether workers are running."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    hostname: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(index=True)
    #: The worker is shutting down: its job returns to the queue.
    stopping: Mapped[bool] = mapped_column(default=False)
