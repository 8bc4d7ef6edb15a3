"""The `images/` + `labels.csv` form: a table says which class and split each file belongs to."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from dspt.data.csv_table import table_rows
from dspt.data.findings import Findings
from dspt.data.layout import SPLIT_FOLDERS, Candidate, Layout
from dspt.kit.text import printable

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def layout_by_table(
    table: bytes, table_path: str, files: Sequence[str], findings: Findings
) -> Layout:
    """Read `table` (UTF-8, a header with `file` and `label`, and if wanted `split`).

    `file` is a path from `images/` or from the root. Other columns are passed over. Reports, by
    line, what is missing, unknown or said twice, and images that no row names.
    """
    layout = Layout()
    images = [p for p in files if p != table_path]
    by_name = {p.removeprefix("images/"): p for p in images} | {p: p for p in images}
    rows: dict[str, int] = {}
    lines = table_rows(table, table_path, findings, required=("file", "label"), optional=("split",))
    for line, cells in lines:
        row = {column: cell.strip() for column, cell in cells.items()}
        where = f"{table_path} line {line}"
        given = unicodedata.normalize("NFC", row["file"]).replace("\\", "/").removeprefix("./")
        label = unicodedata.normalize("NFC", row["label"])
        split = SPLIT_FOLDERS.get(row.get("split", "train").lower())
        path = by_name.get(given)
        if not given:
            findings.problem(where, "missing_file_name", "the column `file` is empty")
        elif path is None:
            findings.problem(where, "unknown_file", f"there is no file {printable(given)!r}")
        elif path in rows:
            findings.problem(
                where, "duplicate_row", f"{printable(given)!r} already has a row, line {rows[path]}"
            )
        if not label:
            findings.problem(where, "missing_label", f"{printable(given)!r} has no label")
        if split is None:
            findings.problem(
                where, "unknown_split", f"{printable(row['split'])!r} is not train, val or test"
            )
        if path is None or path in rows:
            continue
        rows[path] = line
        if label and split:
            layout.candidates.append(Candidate(path, label, split))
            layout.class_folders[split, label] = label
    if findings.problems and not rows:
        return layout  # the table itself is at fault: no use in naming every image
    for path in images:
        if path in rows:
            continue
        if path.lower().endswith(IMAGE_SUFFIXES):
            findings.problem(path, "file_without_label", f"no row of {table_path} names it")
        else:
            layout.outside.append((path, f"no row of {table_path} names it"))
    return layout
