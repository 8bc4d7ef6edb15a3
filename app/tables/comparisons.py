"""Table of comparisons."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base
from app.tables.leased import Run, run_constraints


class Comparison(Run, Base):
    """Two models that a worker compares on the same images."""

    __tablename__ = "comparisons"
    __table_args__ = (
        *run_constraints("comparisons"),
        CheckConstraint("(result IS NOT NULL) = (status = 'succeeded')", name="result"),
    )

    #: The models, fixed when the comparison is created. They may have been deleted.
    a_model_id: Mapped[str] = mapped_column(String(40))
    b_model_id: Mapped[str] = mapped_column(String(40))
    #: Aliases in the request.
    a_alias: Mapped[str | None] = mapped_column(String(63))
    b_alias: Mapped[str | None] = mapped_column(String(63))
    #: The data set with the images, which may have been deleted.
    dataset_id: Mapped[str] = mapped_column(String(40))
    #: Whether all photos are compared, not only the test part or the held-out ones.
    all_photos: Mapped[bool]
    #: `ComparisonView` of a succeeded comparison. Not loaded for lists, because it is large.
    result: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
