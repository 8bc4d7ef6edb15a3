"""The audit as a CSV table to edit in a spreadsheet, and the corrections read from it.

A spreadsheet runs a cell that begins with `=` and similar characters as a formula, and file names
are untrusted. Such cells are written with a leading apostrophe, which is removed on reading.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain

from dspt.data.csv_table import table_rows
from dspt.data.findings import Findings
from dspt.kit.text import printable
from dspt.labels.corrections import NEW, SHOWN_PER_KIND, Corrections

CORRECT = "correct_label"
"""Column for the correct class, DROP or KEEP; empty for a file that was not looked at."""
DROP = "drop"
KEEP = "keep"
"""The label is right. A class of this name has precedence."""

_FIRST = ("file", "given", "suggested", CORRECT)
# OWASP's list for CSV injection, with the full-width signs; spreadsheets skip leading blanks.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n＝＋－＠]")


def audit_csv(entries: Iterable[Mapping[str, object]]) -> bytes:
    """Write one line per audited file, in order, with an empty column for the correct class.

    UTF-8; with a byte order mark if a name is not ASCII, because Excel would misread it.
    """
    table = "".join(audit_lines(entries))
    return table.encode("ascii" if table.isascii() else "utf-8-sig")


def audit_lines(entries: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield the lines of the table, the header first."""
    rows = iter(entries)
    first = next(rows, None)
    columns = [*_FIRST, *(column for column in first or () if column not in _FIRST)]
    yield csv_line(columns)
    for row in rows if first is None else chain([first], rows):
        yield csv_line(spreadsheet_cell(row.get(column, "")) for column in columns)


def csv_line(cells: Iterable[object]) -> str:
    """Return one line of a table."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def corrections_from_csv(table: bytes, name: str, classes: Collection[str]) -> Corrections:
    """Read the decisions in the column `correct_label`.

    A cell has the class of the file (its own class confirms the label), `keep`, `drop`, or `new: `
    and a class that is not in `classes`.
    `name` is the name of the table in messages. Other columns and empty cells are ignored, and so
    are the case of `keep`, `drop`, `new` and of classes, and blanks around them, unless two classes
    differ in nothing else. Raises DatasetError, by line, for rows that are invalid or repeat a
    file.
    """
    findings = Findings(SHOWN_PER_KIND)
    relabel: dict[str, str] = {}
    drop: list[str] = []
    keep: list[str] = []
    new: dict[str, None] = {}
    lines: dict[str, int] = {}
    by_case: dict[str, list[str]] = {}
    for name_of_class in {*classes, DROP, KEEP}:
        by_case.setdefault(name_of_class.strip().casefold(), []).append(name_of_class)
    for line, row in table_rows(table, name, findings, required=("file", CORRECT)):
        where, file, correct = f"{name} line {line}", _read(row["file"]), row[CORRECT]
        if not correct.strip():
            continue
        # class names may begin or end with blanks; typed ones are accidental
        correct = _read(correct) if _read(correct) in classes else _read(correct.strip())
        if correct not in classes:
            alike = by_case.get(correct.strip().casefold(), [])
            correct = alike[0] if len(alike) == 1 else correct
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
                f"ambiguous: {DROP!r} is also the name of a class; rename the class folder",
            )
        elif correct == DROP:
            drop.append(file)
        elif correct == KEEP and KEEP not in classes:
            keep.append(file)
        else:
            if correct not in classes and correct.casefold().startswith(NEW.strip()):
                correct = correct[len(NEW.strip()) :].strip()
                if correct not in classes:
                    new[correct] = None
            relabel[file] = correct
        lines.setdefault(file, line)
    if not findings.problems and not lines:
        findings.problem(
            name,
            "nothing_changed",
            f"the column {CORRECT} is empty; write the right class, or {DROP}, next to the files "
            f"whose label is wrong, and {KEEP} next to those whose label is right",
        )
    findings.refuse_if_any()
    return Corrections.of(relabel, drop, keep, new)


def has_corrections(table: bytes) -> bool:
    """Whether a cell of the column `correct_label` of `table` is filled in."""
    rows = table_rows(table, "", Findings(), required=("file", CORRECT))
    return any(row[CORRECT].strip() for _, row in rows)


def spreadsheet_cell(value: object) -> object:
    """Return `value` for a spreadsheet cell: never a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return value


def _read(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
