"""Tables of jobs, their events, the outbox to the broker, and workers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base
from app.kit.pools import DEFAULT_POOL
from app.tables.job_state import LEASED
from app.tables.leased import Leased, leased_constraints


class Job(Leased, Base):
    """One tuning run. The broker only carries its id."""

    __tablename__ = "jobs"
    __table_args__ = (
        *leased_constraints("jobs", Status, LEASED),
        CheckConstraint("(audit_key IS NOT NULL) = (status = 'succeeded')", name="audit_key"),
        CheckConstraint("(lease_owner IS NULL) = (lease_renewed_at IS NULL)", name="lease_expiry"),
    )

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

    #: Number of the newest event.
    event_seq: Mapped[int] = mapped_column(default=0)
    #: Longer than those of other tables, because earlier versions stored the key itself.
    idempotency_digest: Mapped[str | None] = mapped_column(String(255))


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
    pool: Mapped[str] = mapped_column(String(40), default=DEFAULT_POOL, server_default=DEFAULT_POOL)
    hostname: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(index=True)
    #: The worker is shutting down: its job returns to the queue.
    stopping: Mapped[bool] = mapped_column(default=False)
