"""Find the class and split of each file, from its folder or from labels.csv."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from dspt.data.csv_table import table_rows
from dspt.data.findings import Findings
from dspt.kit.text import printable

Split = Literal["train", "val", "test"]

SPLIT_FOLDERS: Final[dict[str, Split]] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
LABELS_FILE = "labels.csv"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Candidate:
    """A file that should be an image, with its class and split."""

    path: str
    class_name: str
    split: Split


@dataclass
class Layout:
    """The files of a data set by class and split."""

    candidates: list[Candidate] = field(default_factory=list)
    outside: list[tuple[str, str]] = field(default_factory=list)
    """Files that belong to no class, each with the reason."""
    class_folders: dict[tuple[Split, str], str] = field(default_factory=dict)
    """Folder of each (split, class), also of empty ones."""


def common_top(files: Sequence[str], folders: Sequence[str]) -> str | None:
    """Return the single top folder that contains everything and is not a class, or None.

    One level only: `photos/cat/1.jpg` -> `photos`; `cat/1.jpg` -> None.
    """
    if labels_file(files) is not None:
        return None
    tops = {p.split("/")[0] for p in files if "/" in p} | {f.split("/")[0] for f in folders}
    if len(tops) != 1:
        return None
    top = tops.pop()
    holds_folders = any(p.count("/") >= 2 for p in files) or any("/" in f for f in folders)
    holds_table = any(p.lower() == f"{top}/{LABELS_FILE}".lower() for p in files)
    below = {p.split("/")[1].lower() for p in (*files, *folders) if "/" in p}
    if SPLIT_FOLDERS.get(top.lower()) in ("val", "test") and not below & {"train", LABELS_FILE}:
        return None  # only held-out images, which must not be trained on by accident
    return top if holds_folders or holds_table else None


def labels_file(files: Sequence[str]) -> str | None:
    """Return the path of the table of labels in the root, ignoring case, or None."""
    return next((p for p in files if p.lower() == LABELS_FILE), None)


def layout_by_folder(files: Sequence[str], folders: Sequence[str], findings: Findings) -> Layout:
    """Return the layout of `<class>/...`, or of `train/<class>/...` with `val/` or `test/`.

    Subfolders of a class folder belong to that class. Split folders are recognised by name,
    ignoring case, only next to `train`, and only if they contain folders: `train/1.jpg` next to
    `bus/1.jpg` is a class of trains.
    """
    tops = {p.split("/")[0] for p in files if "/" in p} | {f.split("/")[0] for f in folders}
    splits = {top: SPLIT_FOLDERS[top.lower()] for top in tops if top.lower() in SPLIT_FOLDERS}
    if tops and splits.keys() == tops and "train" not in splits.values():
        findings.problem(
            "",
            "no_train",
            f"found {' and '.join(f'{s}/' for s in sorted(tops))} but no train/ folder; add it, or "
            "move the class folders up one level to train on them",
        )
        return Layout()
    split_form = set(splits.values()) > {"train"} or splits.keys() == tops != set()
    return _by_split(files, folders, splits) if split_form else _by_class(files, folders)


def _by_class(files: Sequence[str], folders: Sequence[str]) -> Layout:
    layout = Layout()
    for path in files:
        class_name, slash, _ = path.partition("/")
        if slash:
            layout.candidates.append(Candidate(path, class_name, "train"))
            layout.class_folders["train", class_name] = class_name
        else:
            layout.outside.append((path, "outside the class folders"))
    for folder in folders:
        class_name = folder.split("/")[0]
        layout.class_folders["train", class_name] = class_name
    return layout


def _by_split(files: Sequence[str], folders: Sequence[str], splits: dict[str, Split]) -> Layout:
    layout = Layout()
    named = " and ".join(f"{top}/" for top in sorted(splits, key=str.lower))
    for path in files:
        top, *rest = path.split("/")
        if top not in splits or not rest:
            layout.outside.append((path, f"outside {named}"))
        elif len(rest) == 1:
            layout.outside.append((path, f"in {top}/ but in no class folder"))
        else:
            layout.candidates.append(Candidate(path, rest[0], splits[top]))
            layout.class_folders[splits[top], rest[0]] = f"{top}/{rest[0]}"
    for folder in folders:
        top, *rest = folder.split("/")
        if top in splits and rest:
            layout.class_folders[splits[top], rest[0]] = f"{top}/{rest[0]}"
    return layout


def layout_by_table(
    table: bytes, table_path: str, files: Sequence[str], findings: Findings
) -> Layout:
    """Return the layout in `table` (UTF-8, header with `file`, `label` and optional `split`).

    `file` is a path relative to `images/` or to the root. Other columns are ignored. Missing,
    unknown and duplicate values are reported by line, and images without a row.
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
            findings.problem(where, "unknown_file", f"file not found: {printable(given)!r}")
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
        return layout  # the table is invalid: do not report every image
    for path in images:
        if path in rows:
            continue
        if path.lower().endswith(IMAGE_SUFFIXES):
            findings.problem(path, "file_without_label", f"no row in {table_path}")
        else:
            layout.outside.append((path, f"no row in {table_path}"))
    return layout
