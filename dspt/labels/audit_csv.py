"""The audit as a table that a person edits in a spreadsheet, and the corrections read from it.

A spreadsheet runs a cell that begins with `=` and the like as a formula, and file names are a
stranger's. Such cells are written behind an apostrophe, which is taken off again when they are
read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping

from dspt.data.csv_table import table_rows
from dspt.data.findings import Findings
from dspt.kit.text import printable
from dspt.labels.corrections import Corrections

CORRECT = "correct_label"
"""The column in which a person writes the right class, or DROP; empty where nothing is wrong."""
DROP = "drop"

_FIRST = ("file", "given", "suggested", CORRECT)
# OWASP's list for CSV injection, the full-width signs included; spreadsheets skip leading blanks.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n＝＋－＠]")


def audit_csv(entries: Iterable[Mapping[str, object]]) -> bytes:
    """One line per audited file, in their order, with an empty column for the right class.

    UTF-8; begins with a byte order mark where a name is not ASCII, as Excel would misread it.
    """
    rows = list(entries)
    columns = [*_FIRST, *(column for column in (rows[0] if rows else ()) if column not in _FIRST)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([spreadsheet_cell(row.get(column, "")) for column in columns] for row in rows)
    table = text.getvalue()
    return table.encode("ascii" if table.isascii() else "utf-8-sig")


def corrections_from_csv(table: bytes, name: str, classes: Collection[str]) -> Corrections:
    """What the column `correct_label` of `table` says: the right class of a file, or `drop`.

    `name` is what the table goes by in messages; other columns and empty cells are passed over.
    Raises DatasetError, by line, for what cannot be read or is said twice.
    """
    findings = Findings()
    relabel: dict[str, str] = {}
    drop: list[str] = []
    lines: dict[str, int] = {}
    for line, row in table_rows(table, name, findings, required=("file", CORRECT)):
        where, file, correct = f"{name} line {line}", _read(row["file"]), row[CORRECT]
        if not correct.strip():
            continue
        # a class may have blanks at its ends; a person who types one does not mean them
        correct = _read(correct) if _read(correct) in classes else _read(correct.strip())
        if not file.strip():
            findings.problem(where, "missing_file_name", "the column `file` is empty")
        elif file in lines:
            findings.problem(
                where, "duplicate_row", f"{printable(file)!r} already has a row, line {lines[file]}"
            )
        elif correct == DROP and DROP in classes:
            findings.problem(
                where,
                "unclear_drop",
                f"there is a class {DROP!r}, so this may mean that class or to leave the image "
                "out; rename the class folder",
            )
        elif correct == DROP:
            drop.append(file)
        else:
            relabel[file] = correct
        lines.setdefault(file, line)
    if not findings.problems and not lines:
        findings.problem(
            name,
            "nothing_changed",
            f"the column {CORRECT} is empty; write the right class, or {DROP}, beside the files "
            "whose label is wrong",
        )
    findings.refuse_if_any()
    return Corrections.of(relabel, drop)


def has_corrections(table: bytes) -> bool:
    """Whether somebody wrote into the column `correct_label` of `table`."""
    rows = table_rows(table, "", Findings(), required=("file", CORRECT))
    return any(row[CORRECT].strip() for _, row in rows)


def spreadsheet_cell(value: object) -> object:
    """`value` as a table for a spreadsheet may hold it: never a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return value


def _read(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
