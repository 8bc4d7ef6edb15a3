"""Read JSON columns in part, so that the database sends less."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, cast, func

from app.kit.db import JsonColumn


def without(
    column: ColumnElement[Any], dialect: str, paths: Iterable[tuple[str, ...]]
) -> ColumnElement[Any]:
    """Return the column without the members at `paths`, which need not exist."""
    if dialect == "sqlite":
        return func.json_remove(column, *("$." + ".".join(p) for p in paths), type_=JsonColumn)
    for path in paths:
        column = column.op("#-", return_type=JsonColumn)(cast(list(path), ARRAY(Text)))
    return column


#: Members of the metrics whose size grows with the number of classes (even with its square), of
#: epochs or of files.
LARGE_METRICS = (
    *(
        (*before, classifier, member)
        for before in ((), ("before",))
        for classifier in ("zero_shot", "prompt", "tuned")
        for member in ("per_class", "per_class_interval", "confusion")
    ),
    ("history",),
    *(
        ("copies", groups)
        for groups in ("in_class", "across_classes", "across_splits", "single_photo")
    ),
)
