"""The result of a comparison, computed by a worker or by the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dspt_client.schemas.comparisons import ComparisonView

from app.comparisons.photos import Opened
from app.tables.models import Model


def result_of(
    found: dict[str, Any],
    models: Sequence[Model],
    aliases: Sequence[str | None],
    dataset_id: str,
    opened: Opened,
    readable: int,
) -> ComparisonView:
    """Return what `dspt.report.comparison` found, with the models and images it is about."""
    for side, model, alias in zip("ab", models, aliases, strict=True):
        found[side] |= {"model": model.id, "name": model.name, "alias": alias}
    unreadable = len(opened.wanted) - readable
    about = {"dataset_id": dataset_id, "part": opened.part, "unreadable": unreadable}
    return ComparisonView.model_validate({**found, **about})
