"""The table of a person's verdicts on the labels of a job."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base


class ReviewVerdict(Base):
    """One verdict on one file. Never changed; the newest one of a file counts."""

    __tablename__ = "review_verdicts"
    __table_args__ = (
        CheckConstraint("action IN ('relabel', 'keep', 'drop')", name="action"),
        CheckConstraint(
            "(label IS NOT NULL) = (action IS NOT NULL AND action = 'relabel')", name="label"
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    #: Number within the job: 1, 2, 3, ... The newest one is the version of the review.
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    file: Mapped[str] = mapped_column(String(1000))
    #: Null: the verdict was undone.
    action: Mapped[str | None] = mapped_column(String(16))
    #: The correct class, of `relabel`.
    label: Mapped[str | None] = mapped_column(String(1000))
    #: Whether the data set has no such class yet.
    new_class: Mapped[bool]
    #: API key of the request; null without keys.
    key_id: Mapped[str | None] = mapped_column(String(40))
    at: Mapped[datetime]
