"""Find the class and split of each file from tables of labels."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dspt.data.findings import Findings
from dspt.data.layout import TABLE_SUFFIXES, Candidate, Layout
from dspt.data.split_names import Split, is_unlabelled, split_of
from dspt.data.table_records import Record, read_records
from dspt.data.tree import may_be_image
from dspt.kit.text import printable

_MAX_TABLES = 20
_SEVERAL = re.compile(r"\s*[|;,+&]\s*")


@dataclass(frozen=True)
class Table:
    """A table of labels: its path and content."""

    path: str
    data: bytes

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def split(self) -> Split | None:
        """The split that the name of the table or its folder states."""
        stem = self.path.rpartition("/")[2].rpartition(".")[0]
        return split_of(stem) or split_of(self.folder.rpartition("/")[2])


def table_paths(files: Sequence[str]) -> list[str]:
    """Return the paths of files that may be tables of labels: in the root or a folder there."""
    return [
        path
        for path in files
        if path.lower().endswith(TABLE_SUFFIXES)
        and path.count("/") <= 1
        and "submission" not in path.lower()
    ][:_MAX_TABLES]


class _Files:
    """Finds the file that a row of a table means."""

    def __init__(self, files: Sequence[str]) -> None:
        self._paths = set(files)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in files:
            name = path.rpartition("/")[2].casefold()
            self._by_name[name].append(path)
            if may_be_image(path):
                self._by_stem[name.rpartition(".")[0] or name].append(path)

    def find(self, name: str, folder: str) -> list[str]:
        """Return the files that `name` can mean, best one reading; `folder` is the table's."""
        for start in (f"{folder}/" if folder else "", f"{folder}/images/" if folder else "images/"):
            if start + name in self._paths:
                return [start + name]
        if name in self._paths:
            return [name]
        last = name.rpartition("/")[2].casefold()
        found = self._by_name.get(last) or self._by_stem.get(last, [])
        within = [path for path in found if path.startswith(f"{folder}/")] if folder else found
        found = within or found
        if "/" not in name:
            return found
        wanted = name.casefold().rpartition("/")[0]
        return [path for path in found if _same_folders(path.casefold().rpartition("/")[0], wanted)]


def _same_folders(path: str, wanted: str) -> bool:
    """Whether one path of folders ends with the other."""
    return f"/{path}".endswith(f"/{wanted}") or f"/{wanted}".endswith(f"/{path}")


def layout_by_tables(tables: Sequence[Table], files: Sequence[str], findings: Findings) -> Layout:
    """Return the layout that tables of labels give.

    Missing, unknown and duplicate values are reported by line. Images without a row and rows with
    several labels are left out with a warning.
    """
    layout = Layout()
    paths = {table.path for table in tables}
    images = [path for path in files if path not in paths]
    finder = _Files(images)
    rows: dict[str, Record] = {}
    labelled: list[tuple[str, tuple[str, ...], Split | None]] = []
    for table in tables:
        for record in read_records(table.data, table.path, findings):
            path = _file_of(record, finder, table.folder, rows, findings)
            split = _split_of(record, table, findings)
            if path is None:
                continue
            rows[path] = record
            labels = tuple(unicodedata.normalize("NFC", label) for label in record.labels)
            if labels:
                labelled.append((path, labels, split))
            elif record.split is None or split:
                message = f"{printable(record.file)!r} has no label"
                findings.problem(record.where, "missing_label", message)
    _add(labelled, layout, findings)
    named = " and ".join(sorted(paths))
    without: list[str] = []
    for path in images:
        if path not in rows:
            unlabelled = is_unlabelled(_top_of_train(path)) and may_be_image(path)
            (layout.unlabelled if unlabelled else without).append(path)
    if rows:
        layout.outside += [(path, f"no row in {named}") for path in without]
        for path in filter(may_be_image, without):
            message = f"{printable(path)} is left out: no row in {named}"
            findings.warning("file_without_label", message)
    return layout


def _top_of_train(path: str) -> str:
    """The first folder of a path, the second if the first is `train`, or "" if there is none."""
    folders = path.split("/")[:-1]
    return next((name for name in folders[:2] if split_of(name) != "train"), "")


def _file_of(
    record: Record, finder: _Files, folder: str, rows: dict[str, Record], findings: Findings
) -> str | None:
    name = unicodedata.normalize("NFC", record.file).replace("\\", "/").removeprefix("./")
    if not name:
        findings.problem(record.where, "missing_file_name", "the column `file` is empty")
        return None
    found = finder.find(name.lstrip("/"), folder)
    shown = repr(printable(name))
    if not found:
        findings.problem(record.where, "unknown_file", f"file not found: {shown}")
    elif len(found) > 1:
        message = f"{shown} is the name of {len(found)} files; write the path"
        findings.problem(record.where, "unknown_file", message)
    elif (row := rows.get(found[0])) is not None:
        message = f"{shown} already has a row, {row.where}"
        if (record.labels, record.split) == (row.labels, row.split):
            findings.warning("duplicate_row", f"{record.where}: {message}; it is the same")
        else:
            findings.problem(record.where, "duplicate_row", message)
    else:
        return found[0]
    return None


def _split_of(record: Record, table: Table, findings: Findings) -> Split | None:
    """The split that the row or the table states; None if neither does."""
    if record.split is None:
        return table.split
    split = split_of(record.split)
    if split is None:
        message = f"{printable(record.split)!r} is not train, val or test"
        findings.problem(record.where, "unknown_split", message)
    return split


def _add(
    labelled: Sequence[tuple[str, tuple[str, ...], Split | None]],
    layout: Layout,
    findings: Findings,
) -> None:
    single = {labels[0] for _, labels, _ in labelled if len(labels) == 1}
    by_folder = {} if any(split for *_, split in labelled) else _splits_of_folders(labelled)
    if by_folder:
        read_as = ", ".join(f"{printable(top)}/ as {split}" for top, split in by_folder.items())
        findings.warning("layout", f"the folders are read as splits: {read_as}")
    for path, labels, split in labelled:
        parts = _SEVERAL.split(labels[0]) if len(labels) == 1 else list(labels)
        if len(parts) > 1 and (len(labels) > 1 or single.issuperset(parts)):
            reason = f"several labels: {printable(', '.join(parts))}"
            layout.outside.append((path, reason))
            findings.warning("several_labels", f"{printable(path)} is left out: {reason}")
            continue
        split = split or by_folder.get(path.partition("/")[0], "train")
        layout.add(Candidate(path, labels[0], split), labels[0])


def _splits_of_folders(
    labelled: Sequence[tuple[str, tuple[str, ...], Split | None]],
) -> dict[str, Split]:
    """The splits by top folder, if all labelled files lie in folders named after several splits."""
    tops = {path.partition("/")[0] for path, *_ in labelled if "/" in path}
    splits = {top: split for top in sorted(tops) if (split := split_of(top))}
    all_named = len(splits) == len(tops) and all("/" in path for path, *_ in labelled)
    return splits if all_named and len(set(splits.values())) > 1 else {}
