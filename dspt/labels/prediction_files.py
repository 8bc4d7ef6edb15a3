"""Read labels and predictions made elsewhere from .npy or CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dspt.data.csv_table import csv_rows, table_rows
from dspt.data.findings import Findings
from dspt.errors import ConfigError
from dspt.kit.text import printable

_FILE, _LABEL = "file", "label"


@dataclass(frozen=True)
class Predictions:
    """The arguments of `audit_probabilities`."""

    labels: NDArray[Any]
    """(N,) column numbers or class names."""
    probabilities: NDArray[np.float64]
    """(N, C)"""
    classes: list[str] | None
    files: list[str] | None


@dataclass(frozen=True)
class _Column:
    values: NDArray[Any]
    files: list[str] | None
    """None where the table has no column `file`."""
    classes: list[str] | None = None


def read_predictions(labels: Path, probabilities: Path) -> Predictions:
    """Read both files. Rows are matched by file name where both are tables with a column `file`.

    labels: .npy (N,), or a CSV table with the column `label`; probabilities: .npy (N, C), or a CSV
    table with one column per class, named after it. Raises DatasetError, by line, or ConfigError.
    """
    recorded, predicted = _read_labels(labels), _read_probabilities(probabilities)
    values = recorded.values
    if predicted.classes is None and recorded.values.dtype.kind == "U":
        values = _as_numbers(values)  # there are no names that they could be
    files = predicted.files or recorded.files
    if predicted.files is not None and recorded.files is not None:
        rows = _matched(recorded.files, predicted.files, labels.name, probabilities.name)
        values = values[rows]
    return Predictions(values, predicted.values, predicted.classes, files)


def _read_labels(path: Path) -> _Column:
    if path.suffix.lower() == ".npy":
        return _Column(_load(path), None)
    findings = Findings()
    rows = table_rows(_bytes(path), path.name, findings, required=(_LABEL,), optional=(_FILE,))
    found = [row for _, row in rows]
    findings.refuse_if_any()
    named = bool(found) and _FILE in found[0]
    return _Column(
        np.array([row[_LABEL].strip() for row in found], dtype=str),
        [row[_FILE] for row in found] if named else None,
    )


def _read_probabilities(path: Path) -> _Column:
    if path.suffix.lower() == ".npy":
        return _Column(_load(path), None)
    findings = Findings()
    rows = csv_rows(_bytes(path), path.name, findings)
    _, header = next(rows, (1, []))
    named = bool(header) and header[0].strip().lower() == _FILE
    classes = [cell.strip() for cell in header[named:]]
    values, files = list[list[float]](), list[str]()
    for line, cells in rows:
        files.append(cells[0])
        try:
            values.append([float(cell) for cell in cells[named:]])
        except ValueError as error:
            findings.problem(f"{path.name} line {line}", "invalid_table", str(error))
    findings.refuse_if_any()
    matrix = np.array(values).reshape(len(values), len(classes))
    return _Column(matrix, files if named else None, classes)


def _load(path: Path) -> NDArray[Any]:
    try:
        found: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(
            f"{path}: not a .npy file with an array of numbers or text: {error}"
        ) from error
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _as_numbers(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the labels as integers if all are."""
    try:
        return labels.astype(np.int64)
    except ValueError:
        return labels


def _matched(
    labelled: Sequence[str], predicted: Sequence[str], labels: str, probabilities: str
) -> list[int]:
    """Return the row of the labels for each prediction. Raises DatasetError for unmatched files."""
    findings = Findings()
    rows = dict[str, int]()
    for names, table in ((labelled, labels), (predicted, probabilities)):
        seen = set[str]()
        for row, file in enumerate(names):
            if file in seen:
                message = f"{printable(file)!r} has two rows"
                findings.problem(table, "duplicate_row", message)
            seen.add(file)
            if table == labels:
                rows[file] = row
    for file in sorted(set(predicted) ^ rows.keys()):
        table = labels if file not in rows else probabilities
        findings.problem(table, "missing_row", f"no row for {printable(file)!r}")
    findings.refuse_if_any()
    return [rows[file] for file in predicted]
