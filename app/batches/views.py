"""What callers see of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dspt_client.schemas.batches import BatchView

from app.kit.text_blocks import text_blocks
from app.tables.batches import Batch
from dspt.labels.audit_csv import csv_line, spreadsheet_cell

_COLUMNS = ("file", "label", "score", "rejected", "error")
_PLAIN = frozenset(BatchView.model_fields) - {
    *("object", "model", "top_k", "reject_below", "links"),
}


def view(batch: Batch) -> BatchView:
    """Return the view of a batch."""
    base = f"/batches/{batch.id}"
    links = {"self": base, "results": f"{base}/results", "model": f"/models/{batch.model_id}"}
    if batch.dataset_id is not None:
        links["dataset"] = f"/datasets/{batch.dataset_id}"
    columns = {name: getattr(batch, name) for name in _PLAIN}
    found = {**columns, **batch.options, "model": batch.model_id, "links": links}
    return BatchView.model_validate(found)


def as_ndjson(results: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield one JSON object per line, many lines at a time."""
    return text_blocks(json.dumps(each, ensure_ascii=False) + "\n" for each in results)


def as_csv(results: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield a table with one line per image; cells that a spreadsheet would run are quoted."""
    yield csv_line(_COLUMNS).encode()
    yield from text_blocks(csv_line(_cells(each)) for each in results)


def _cells(result: Mapping[str, Any]) -> Iterator[object]:
    error = result.get("error")
    row = {**result, "error": None if error is None else error["message"]}
    for column in _COLUMNS:
        value = row.get(column)
        yield "" if value is None else spreadsheet_cell(value)
