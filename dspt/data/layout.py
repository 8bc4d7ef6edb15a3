"""Which class and split each file belongs to, from where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from dspt.data.findings import Findings

Split = Literal["train", "val", "test"]

SPLIT_FOLDERS: Final[dict[str, Split]] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
LABELS_FILE = "labels.csv"


@dataclass(frozen=True)
class Candidate:
    """A file that should be an image, with what its place says about it."""

    path: str
    class_name: str
    split: Split


@dataclass
class Layout:
    candidates: list[Candidate] = field(default_factory=list)
    outside: list[tuple[str, str]] = field(default_factory=list)
    """Files that belong to no class, each with the reason."""
    class_folders: dict[tuple[Split, str], str] = field(default_factory=dict)
    """Where each class lies, also where it has no files."""


def common_top(files: Sequence[str], folders: Sequence[str]) -> str | None:
    """The one folder that everything lies in and that is not itself a class, or None.

    Only one is taken off: `photos/cat/1.jpg` -> `photos`, but None for `cat/1.jpg`.
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
        return None  # held-out images alone: not to be trained on by accident
    return top if holds_folders or holds_table else None


def labels_file(files: Sequence[str]) -> str | None:
    """The table of labels in the root, whatever its case, or None."""
    return next((p for p in files if p.lower() == LABELS_FILE), None)


def layout_by_folder(files: Sequence[str], folders: Sequence[str], findings: Findings) -> Layout:
    """`<class>/...` or `train/<class>/...` with `val/` or `test/` beside it.

    Folders inside a class folder belong to that class. Split folders are known by name, whatever
    the case, only beside `train`, and only where they hold folders: `train/1.jpg` beside
    `bus/1.jpg` is a class of trains.
    """
    tops = {p.split("/")[0] for p in files if "/" in p} | {f.split("/")[0] for f in folders}
    splits = {top: SPLIT_FOLDERS[top.lower()] for top in tops if top.lower() in SPLIT_FOLDERS}
    if tops and splits.keys() == tops and "train" not in splits.values():
        findings.problem(
            "",
            "no_train",
            f"there is {' and '.join(f'{s}/' for s in sorted(tops))} but no train/ folder; add it, "
            "or take the photos out of the folder to train on them",
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
