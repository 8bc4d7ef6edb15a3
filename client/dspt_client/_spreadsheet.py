"""The audit as a CSV file for a spreadsheet, in the form that `dspt audit --csv` writes, too.

A spreadsheet runs a cell that begins with `=` and the like as a formula, and file names are
untrusted. Such cells get an apostrophe in front; the service removes it when it reads the file.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping

_FIRST = ("file", "given", "suggested", "correct_label")
# OWASP's list for CSV injection, the full-width signs included; spreadsheets skip leading blanks.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n＝＋－＠]")


def audit_csv(entries: Iterable[Mapping[str, object]]) -> bytes:
    """Return one line per audited file, with an empty column `correct_label`.

    UTF-8; with a byte order mark if a name is not ASCII, because Excel needs it.
    """
    rows = list(entries)
    columns = [*_FIRST, *(column for column in (rows[0] if rows else ()) if column not in _FIRST)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column, "")) for column in columns] for row in rows)
    table = text.getvalue()
    return table.encode("ascii" if table.isascii() else "utf-8-sig")


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return value
