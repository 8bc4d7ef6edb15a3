"""The comparisons in the database."""

from __future__ import annotations

from app.leased.kind import RunKind
from app.tables.comparisons import Comparison

COMPARISONS = RunKind(Comparison, "comparison")
