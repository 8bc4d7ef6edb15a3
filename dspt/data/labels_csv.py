"""The `images/` + `labels.csv` form: a table says which class and split each file belongs to."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence

from dspt.data.findings import Findings
from dspt.data.layout import SPLIT_FOLDERS, Candidate, Layout
from dspt.data.names import shown

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
    for line, row in _rows(table, table_path, findings):
        where = f"{table_path} line {line}"
        given = unicodedata.normalize("NFC", row["file"]).replace("\\", "/").removeprefix("./")
        label = unicodedata.normalize("NFC", row["label"])
        split = SPLIT_FOLDERS.get(row.get("split", "train").lower())
        path = by_name.get(given)
        if not given:
            findings.problem(where, "missing_file_name", "the column `file` is empty")
        elif path is None:
            findings.problem(where, "unknown_file", f"there is no file {shown(given)!r}")
        elif path in rows:
            findings.problem(
                where, "duplicate_row", f"{shown(given)!r} already has a row, line {rows[path]}"
            )
        if not label:
            findings.problem(where, "missing_label", f"{shown(given)!r} has no label")
        if split is None:
            findings.problem(
                where, "unknown_split", f"{shown(row['split'])!r} is not train, val or test"
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


def _rows(
    table: bytes, table_path: str, findings: Findings
) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = table.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.count(b"\n", 0, error.start) + 1
        findings.problem(
            f"{table_path} line {line}", "invalid_table", "is not UTF-8; save the table as UTF-8"
        )
        return
    header_line = text.partition("\n")[0]
    # spreadsheets write semicolons where the comma is the decimal mark
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not _header_is_right(header, table_path, findings):
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < len(header):
                findings.problem(
                    f"{table_path} line {reader.line_num}",
                    "invalid_table",
                    f"has {len(cells)} columns; the header has {len(header)}",
                )
                continue
            row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
            yield reader.line_num, row
    except csv.Error as error:
        findings.problem(
            f"{table_path} line {reader.line_num}", "invalid_table", f"cannot be read: {error}"
        )


def _header_is_right(header: list[str], table_path: str, findings: Findings) -> bool:
    missing = [name for name in ("file", "label") if name not in header]
    doubled = [name for name in ("file", "label", "split") if header.count(name) > 1]
    if missing:
        findings.problem(
            f"{table_path} line 1",
            "invalid_table",
            f"the header must name the columns file and label; it has {shown(', '.join(header))!r}",
        )
    for name in doubled:
        findings.problem(
            f"{table_path} line 1", "invalid_table", f"the header has two columns {name!r}"
        )
    return not missing and not doubled
