"""Read CSV tables made in spreadsheets; problems are reported with their line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from dspt.data.findings import Findings
from dspt.kit.text import printable

MAX_ROW_CHARACTERS = 64 * 1024
"""A row has a file name and a few words. Each cell is an object, so long rows cost gigabytes."""
MAX_LINES = 1_000_000
"""Five times the maximum number of files of a data set."""


class _Lines:
    """Iterate over the lines of a table for csv.reader; bounds their length and number."""

    def __init__(self, table: bytes) -> None:
        self._text = io.TextIOWrapper(io.BytesIO(table), "utf-8-sig", newline="")
        self.number = 0
        """Number of the last line read, from 1."""
        self._left = 0
        self.new_row()

    def new_row(self) -> None:
        """Start the character count of another row."""
        self._left = MAX_ROW_CHARACTERS

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._left + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self._left -= len(line)
        if self._left < 0:
            raise csv.Error(f"a row has more than {MAX_ROW_CHARACTERS:,} characters")
        if self.number > MAX_LINES:
            raise csv.Error(f"more than {MAX_LINES:,} lines")
        return line


def table_rows(
    table: bytes,
    name: str,
    findings: Findings,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, column -> cell) for each row that is not empty.

    table: UTF-8 with a header; cells are separated by commas, semicolons or tabs.
    name: name of the table in `findings`, to which problems are added.
    required, optional: columns. Case is ignored; further columns are allowed.
    """
    try:
        table.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.count(b"\n", 0, error.start) + 1
        findings.problem(
            f"{name} line {line}", "invalid_table", "not UTF-8; save the table as UTF-8"
        )
        return
    # Spreadsheets write semicolons in countries where the comma is the decimal mark.
    header_line = io.BytesIO(table).readline(MAX_ROW_CHARACTERS)
    delimiter = max(b",;\t", key=header_line.count)
    lines = _Lines(table)
    reader = csv.reader(lines, delimiter=chr(delimiter), strict=True)
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        if not _check_header(header, name, required, optional, findings):
            return
        for cells in reader:
            lines.new_row()
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < len(header):
                findings.problem(
                    f"{name} line {reader.line_num}",
                    "invalid_table",
                    f"has {len(cells)} columns; the header has {len(header)}",
                )
                continue
            yield reader.line_num, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        findings.problem(f"{name} line {lines.number}", "invalid_table", f"cannot be read: {error}")


def _check_header(
    header: list[str],
    name: str,
    required: Sequence[str],
    optional: Sequence[str],
    findings: Findings,
) -> bool:
    missing = [column for column in required if column not in header]
    doubled = [column for column in (*required, *optional) if header.count(column) > 1]
    where = f"{name} line 1"
    if missing:
        findings.problem(
            where,
            "invalid_table",
            f"the header must have the columns {' and '.join(required)}; "
            f"found {printable(', '.join(header))!r}",
        )
    for column in doubled:
        findings.problem(where, "invalid_table", f"the header has two columns {column!r}")
    return not missing and not doubled
