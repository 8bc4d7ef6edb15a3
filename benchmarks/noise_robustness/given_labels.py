"""Labels by human annotators, from a table of files (the form of CIFAR-10N)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dspt.data.class_words import words_of
from dspt.errors import DatasetError, Problem

FILE_COLUMN = "file"


@dataclass(frozen=True)
class GivenLabels:
    """A table of labels by human annotators."""

    table: Path
    rows: Mapping[str, Mapping[str, str]]
    """File -> column -> label."""

    @classmethod
    def read(cls, table: Path, columns: Sequence[str]) -> GivenLabels:
        """Read a CSV with a header: `file` and a column per annotation.

        Raises DatasetError naming the column or line at fault.
        """
        try:
            with table.open(encoding="utf-8-sig", newline="") as lines:
                return cls(table, _rows(table, csv.DictReader(lines, strict=True), columns))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise _error(table, f"cannot be read: {error}") from error

    def of(self, files: Iterable[str], column: str, classes: Sequence[str]) -> NDArray[np.int64]:
        """Return the classes (N,) of `files` in `column`.

        The table names files relative to the data set or to its train/. A label is the name of a
        class folder, or its words in any case. Raises DatasetError for a file without a row and
        for a label that is not a class.
        """
        index = {words_of(name).casefold(): label for label, name in enumerate(classes)}
        found = []
        for file in files:
            row = self.rows.get(file) or self.rows.get(file.removeprefix("train/"))
            if row is None:
                raise _error(self.table, f"no row for {file!r}; every training image needs one")
            label = index.get(words_of(row[column]).casefold())
            if label is None:
                known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
                message = f"{column} of {file!r} is {row[column]!r}, not one of the classes"
                raise _error(self.table, f"{message} {known}")
            found.append(label)
        return np.array(found, dtype=np.int64)


def _rows(
    table: Path, reader: csv.DictReader[str], columns: Sequence[str]
) -> dict[str, dict[str, str]]:
    header = list(reader.fieldnames or ())
    missing = [name for name in (FILE_COLUMN, *columns) if name not in header]
    if missing:
        raise _error(table, f"has no column {', '.join(missing)}; it has {', '.join(header)}")
    found: dict[str, dict[str, str]] = {}
    for row in reader:
        file = (row[FILE_COLUMN] or "").strip().replace("\\", "/").removeprefix("./")
        if not file:
            raise _error(table, f"line {reader.line_num}: the column file is empty")
        if file in found:
            raise _error(table, f"line {reader.line_num}: {file!r} has two rows")
        found[file] = {name: (row[name] or "").strip() for name in columns}
    return found


def _error(table: Path, message: str) -> DatasetError:
    return DatasetError([Problem(str(table), "invalid_table", message)])
