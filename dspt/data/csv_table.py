"""Read CSV tables made in spreadsheets; problems are reported with their line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from dspt.data.findings import Findings
from dspt.kit.text import printable

MAX_ROW_CHARACTERS = 64 * 1024
"""A row has a file name and a few words. Each cell is an object, so long rows cost gigabytes."""
MAX_LINES = 1_000_000
"""Five times the maximum number of files of a data set."""

_SEP_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\"?sep=([,;|:\t])\"?\r?\n?$", re.I)
"""First line by which Excel states the separator."""


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


def csv_rows(table: bytes, name: str, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of the header, then of each row that is not empty.

    table: UTF-8; cells are separated by commas, semicolons, tabs, or as a first line `sep=;` says.
    name: name of the table in `findings`, to which rows with fewer or more cells than the header
    are added. Further empty cells are ignored.
    """
    try:
        table.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.count(b"\n", 0, error.start) + 1
        message = "not UTF-8; save the table as UTF-8"
        findings.problem(f"{name} line {line}", "invalid_table", message)
        return
    # Spreadsheets write semicolons in countries where the comma is the decimal mark.
    file = io.BytesIO(table)
    first = file.readline(MAX_ROW_CHARACTERS)
    stated = _SEP_LINE.match(first)
    if stated:
        first = file.readline(MAX_ROW_CHARACTERS)
    delimiter = stated[1] if stated else max(b",", b";", b"\t", key=first.count)
    lines = _Lines(table)
    if stated:
        next(lines)
    skipped = int(stated is not None)
    separator = delimiter.decode("latin-1")
    reader = csv.reader(lines, delimiter=separator, strict=True)
    width = 0
    try:
        for cells in reader:
            lines.new_row()
            line = reader.line_num + skipped
            if not any(cell.strip() for cell in cells):
                continue
            if not width:
                width = len(cells)
            elif len(cells) < width or any(cell.strip() for cell in cells[width:]):
                hint = f"; put quotes around cells that contain {separator!r}"
                hint = "" if len(cells) < width else hint
                message = f"has {len(cells)} columns; the header has {width}{hint}"
                findings.problem(f"{name} line {line}", "invalid_table", message)
                continue
            yield line, cells[:width]
    except csv.Error as error:
        findings.problem(f"{name} line {lines.number}", "invalid_table", f"cannot be read: {error}")


def table_rows(
    table: bytes,
    name: str,
    findings: Findings,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, column -> cell) for each row that is not empty.

    table, name, findings: as for `csv_rows`.
    required, optional: columns. Case is ignored; further columns are allowed.
    """
    rows = csv_rows(table, name, findings)
    line, names = next(rows, (1, []))
    header = [column.strip().lower() for column in names]
    where = f"{name} line {line}"
    if check_header(header, where, required, optional, findings):
        for line, cells in rows:
            yield line, dict(zip(header, cells, strict=True))


def check_header(
    header: Sequence[str],
    where: str,
    required: Sequence[str],
    optional: Sequence[str],
    findings: Findings,
) -> bool:
    """Return whether the columns are there once each; reports them otherwise."""
    if findings.problems and not header:
        return False  # reported already
    missing = [column for column in required if column not in header]
    doubled = [column for column in (*required, *optional) if header.count(column) > 1]
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
