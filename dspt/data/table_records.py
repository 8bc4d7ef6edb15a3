"""Read tables of labels in the forms that people have: CSV, TSV, JSON and JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from dspt.data.csv_table import check_header, csv_rows
from dspt.data.findings import Findings
from dspt.data.hostile.limits import MIB
from dspt.kit.strict_json import loads
from dspt.kit.text import printable

MAX_JSON_BYTES = 16 * MIB
"""A parsed table takes many times its size in memory."""

_FILE = """
    file filename filepath path filepaths filenames files image imagename imagepath imagefile
    imagefilename imagerelpath imageid images img imgname imgpath imgid photo photoname picture id
    datei dateiname bild foto fichier nomfichier archivo imagen immagine arquivo imagem
"""
_LABEL = """
    label labels class classname classes category categories target labelname tag tags species
    breed classlabel truelabel groundtruth gt y annotation
    klasse kategorie bezeichnung etiquette classe categorie clase categoria etiqueta rotulo
"""
_SPLIT = "split set subset dataset partition datasplit usage phase fold"
_ALIASES = {"file": _FILE.split(), "label": _LABEL.split(), "split": _SPLIT.split()}
_YES, _NO = frozenset(["1", "1.0", "true", "yes", "x"]), frozenset(["", "0", "0.0", "false", "no"])


@dataclass(frozen=True)
class Record:
    """A row: where it is, the file it names, its labels and its split."""

    where: str
    file: str
    labels: tuple[str, ...]
    split: str | None


def read_records(table: bytes, path: str, findings: Findings) -> Iterator[Record]:
    """Yield the rows of a table of labels; `path` is its name in `findings`.

    Columns are found by name in several languages, ignoring case: file, label and an optional
    split. Instead of a label, a CSV can have a column of 0 and 1 for each class. JSON can be a
    list of objects, an object file -> label, or an object class -> list of files.
    """
    suffix = path.lower().rpartition(".")[2]
    if suffix in ("csv", "tsv"):
        yield from _csv_records(table, path, findings)
        return
    if len(table) > MAX_JSON_BYTES:
        message = f"larger than {MAX_JSON_BYTES:,} bytes; save the table as CSV"
        findings.problem(path, "invalid_table", message)
        return
    try:
        if suffix == "json":
            yield from _json_records(loads(table.decode("utf-8-sig")), path, findings)
            return
        for number, line in enumerate(table.decode("utf-8-sig").splitlines(), 1):
            if line.strip():
                yield from _objects([loads(line)], f"{path} line", findings, number)
    except ValueError as error:
        findings.problem(path, "invalid_table", f"cannot be read: {error}")


def is_understood(table: bytes, path: str) -> bool:
    """Return whether the table names files and labels."""
    findings = Findings()
    first = next(read_records(table, path, findings), None)
    return first is not None and not findings.problems


def _csv_records(table: bytes, path: str, findings: Findings) -> Iterator[Record]:
    rows = csv_rows(table, path, findings)
    line, names = next(rows, (1, []))
    header = _canonical(names)
    first = next(rows, None)
    classes = [] if "label" in header or first is None else _class_columns(header, first[1])
    required = ("file",) if classes else ("file", "label")
    if not check_header(header, f"{path} line {line}", required, ("split",), findings):
        return
    at = {column: i for i, column in enumerate(header)}
    for line, cells in chain([first] if first else [], rows):
        if classes:
            labels = tuple(names[i].strip() for i in classes if cells[i].strip().lower() in _YES)
        else:
            labels = tuple(filter(None, [cells[at["label"]].strip()]))
        split = cells[at["split"]].strip() if "split" in at else None
        yield Record(f"{path} line {line}", cells[at["file"]].strip(), labels, split)


def _canonical(names: Sequence[str]) -> list[str]:
    """The names in lower case, with `file`, `label` and `split` for the columns that mean these."""
    header = [name.strip().lower() for name in names]
    plain = [re.sub(r"[\W_]", "", name) for name in header]
    for column, aliases in _ALIASES.items():
        found = [alias for alias in aliases if plain.count(alias) == 1]
        if column not in header and found:
            header[plain.index(found[0])] = column
    return header


def _class_columns(header: Sequence[str], row: Sequence[str]) -> list[int]:
    """The columns of 0 and 1, one per class, if there are at least two and nothing else."""
    columns = [i for i, name in enumerate(header) if name not in ("file", "split")]
    marks = {row[i].strip().lower() for i in columns}
    return columns if len(columns) > 1 and marks <= _YES | _NO else []


def _json_records(data: Any, path: str, findings: Findings) -> Iterator[Record]:
    if isinstance(data, list):
        yield from _objects(data, f"{path} item", findings)
    elif not isinstance(data, dict) or not data:
        findings.problem(path, "invalid_table", "must be a JSON list or object")
    elif all(isinstance(value, dict) for value in data.values()):
        items = [{"file": file, **value} for file, value in data.items()]
        yield from _objects(items, f"{path} item", findings)
    elif _is_by_class(data):
        for name, files in data.items():
            for file in files:
                yield Record(path, str(file), (name,), None)
    elif any(isinstance(part, dict) for value in data.values() for part in _parts(value)):
        message = "must be a list of objects with file and label, or an object file -> label"
        findings.problem(path, "invalid_table", message)
    else:
        for file, label in data.items():
            yield Record(path, file, _labels(label), None)


def _is_by_class(data: Mapping[str, Any]) -> bool:
    """Whether an object maps classes to files: lists of names with suffixes."""
    lists = [value for value in data.values() if isinstance(value, list)]
    names = [name for value in lists for name in value]
    suffixed = sum(isinstance(name, str) and "." in name[-6:] for name in names)
    return len(lists) == len(data) and 2 * suffixed > len(names)


def _objects(items: list[Any], where: str, findings: Findings, start: int = 1) -> Iterator[Record]:
    for number, item in enumerate(items, start):
        if not isinstance(item, dict):
            findings.problem(f"{where} {number}", "invalid_table", "must be a JSON object")
            return
        row = dict(zip(_canonical([*item]), item.values(), strict=True))
        if not check_header([*row], f"{where} {number}", ("file", "label"), ("split",), findings):
            return
        split = row.get("split")
        yield Record(
            f"{where} {number}",
            str(row["file"]).strip(),
            _labels(row["label"]),
            None if split is None else str(split).strip(),
        )


def _parts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _labels(value: Any) -> tuple[str, ...]:
    values = _parts(value)
    texts = [printable(str(v)) if isinstance(v, (dict, list)) else str(v).strip() for v in values]
    return tuple(text for text, v in zip(texts, values, strict=True) if text and v is not None)
