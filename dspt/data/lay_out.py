"""Choose between the folders and the tables of a data set as the origin of its labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from dspt.data.findings import Findings
from dspt.data.label_table import Table, layout_by_tables, table_paths
from dspt.data.layout import Layout, common_top, drop_unknown_classes, is_labels, layout_by_folder
from dspt.data.source import Source
from dspt.data.split_names import split_of
from dspt.data.table_records import is_understood, read_records
from dspt.errors import DatasetError, ImageError, Problem
from dspt.kit.text import printable

_NAMED = 3
_UNREAD = (".xlsx", ".xls", ".ods", ".parquet", ".feather")
"""Tables in other forms."""


def lay_out(source: Source[Any], findings: Findings, *, known: Collection[str] = ()) -> Layout:
    """Return class and split of each file. Raises DatasetError if labels.csv cannot be read.

    known: classes of the data set that these photos are added to; then one class is enough, and
    train/ may be missing.

    A table called labels (.csv, .tsv, .json, .jsonl) decides. Otherwise the folders do, if they
    give at least two classes; otherwise other tables in the root or in split folders.
    """
    top = common_top(source.files, source.folders, known) or ""
    if top:
        source.strip_top(top)
    is_train = split_of(top.rpartition("/")[2]) == "train"
    layout = _lay_out(source, findings, is_train=is_train, known=known)
    if not known:
        drop_unknown_classes(layout, findings)
    return layout


def _lay_out(
    source: Source[Any], findings: Findings, *, is_train: bool, known: Collection[str]
) -> Layout:
    files, folders = source.files, source.folders
    tables = [table for path in table_paths(files) if (table := _read(source, path))]
    labels = [table for table in tables if "/" not in table.path and is_labels(table.path)]
    for table in labels:
        if table.path.lower().endswith(".csv") or is_understood(table.data, table.path):
            return layout_by_tables([table], files, findings)
    understood = [table for table in tables if is_understood(table.data, table.path)]
    tried = Findings()
    by_folder = layout_by_folder(files, folders, tried, is_train=is_train, partial=bool(known))
    train = {name for split, name in by_folder.class_folders if split == "train"}
    if (len(train) > 1 or not train.isdisjoint(known)) and not tried.problems:
        for table in understood:
            message = f"{printable(table.path)} is not used: the folders give the classes"
            findings.warning("table", message)
    elif understood:
        return layout_by_tables(_together(understood, findings), files, findings)
    else:
        for table in tables[:_NAMED]:
            next(read_records(table.data, table.path, findings), None)  # reports what is wrong
        for path in (path for path in files if path.lower().endswith(_UNREAD)):
            message = "is not read; save it as CSV with the columns file and label"
            findings.problem(path, "invalid_table", message)
    return layout_by_folder(files, folders, findings, is_train=is_train, partial=bool(known))


def _read(source: Source[Any], path: str) -> Table | None:
    try:
        return Table(path, source.read(path))
    except ImageError as error:
        if not is_labels(path):
            return None
        raise DatasetError([Problem(path, "invalid_table", error.message)]) from error


def _together(tables: Sequence[Table], findings: Findings) -> Sequence[Table]:
    """Return the tables if they are one, or one per split; reports a problem otherwise."""
    splits = {table.split for table in tables}
    if len(tables) > 1 and (None in splits or len(splits) < len(tables)):
        findings.problem(
            "",
            "ambiguous_layout",
            f"several tables have labels: {', '.join(printable(t.path) for t in tables)}; keep "
            "one, or call it labels.csv",
        )
        return tables[:1]
    return tables
