"""The accuracies as a table."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from benchmarks.skeleton.report import page, table


def markdown(document: Mapping[str, Any]) -> str:
    """Return the text of builtin_zero_shot.md."""
    found = document["datasets"]
    rows = [
        [
            *(str(row[name]) for name in ("dataset", "classes", "images")),
            *(f"{row[name]:.1f}" for name in ("accuracy", "chance")),
        ]
        for row in found
    ]
    if len(found) > 1:
        rows.append(["**mean**", "", "", f"{fmean(row['accuracy'] for row in found):.1f}", ""])
    return page(
        "Zero-shot accuracy of the built-in backbone",
        document,
        f'Weights {document["backbone_digest"]}; prompt "a photo of a {{class}}.".',
        table(("data set", "classes", "images", "zero-shot %", "chance %"), rows),
    )
