"""What callers see of a comparison."""

from __future__ import annotations

from typing import Any

from dspt_client.schemas.comparisons import ComparisonJobView

from app.tables.comparisons import Comparison

_PLAIN = (
    *("id", "name", "status", "pool", "created_at", "started_at", "finished_at"),
    *("a_alias", "b_alias", "dataset_id", "images", "done", "error"),
)


def view(comparison: Comparison, *, result: bool = True) -> ComparisonJobView:
    """Return the view of a comparison; lists leave out its result."""
    columns: dict[str, Any] = {name: getattr(comparison, name) for name in _PLAIN}
    links = {
        "self": f"/comparisons/{comparison.id}",
        "a": f"/models/{comparison.a_model_id}",
        "b": f"/models/{comparison.b_model_id}",
        "dataset": f"/datasets/{comparison.dataset_id}",
    }
    more = {"a": comparison.a_model_id, "b": comparison.b_model_id, "all": comparison.all_photos}
    found = comparison.result if result else None
    return ComparisonJobView.model_validate({**columns, **more, "result": found, "links": links})
