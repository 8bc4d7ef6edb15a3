"""The client writes the audit's table as `dspt audit --csv` does, so that the service reads it."""

from __future__ import annotations

import pytest
from dspt_client._spreadsheet import audit_csv

from dspt.labels import audit_csv as library


@pytest.mark.parametrize(
    "name", ["cat/1.png", "=1+1", "'=1", "\t@x", "＝1", "größe", 'a"b,c', "-1"]
)
def test_both_tables_are_the_same(name: str) -> None:
    rows: list[dict[str, object]] = [
        {"file": name, "given": "cat", "suggested": name, "score": 0.25, "suspect": True},
        {"file": "b", "given": "=dog", "suggested": "cat", "score": 1.0, "suspect": False},
    ]
    assert audit_csv(rows) == library.audit_csv(rows)
    assert audit_csv([]) == library.audit_csv([])
