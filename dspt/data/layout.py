"""Find the class and split of each file, from its folder or from a table of labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from dspt.data.class_words import words_of
from dspt.data.findings import Findings
from dspt.data.folder_layout import Reading, read_folders
from dspt.data.split_names import Split, is_unlabelled, split_of
from dspt.data.tree import MAX_LEVELS, folder_tree
from dspt.kit.text import counted, printable

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")


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
    unlabelled: list[str] = field(default_factory=list)
    """Files that should be images, to be used without labels."""
    class_folders: dict[tuple[Split, str], str] = field(default_factory=dict)
    """Folder of each (split, class) that has files."""
    ignored: set[str] = field(default_factory=set)
    """Names of folders that could have been classes and are not used."""

    def add(self, candidate: Candidate, folder: str) -> None:
        """Add a file; `folder` names its class in messages."""
        self.candidates.append(candidate)
        self.class_folders.setdefault((candidate.split, candidate.class_name), folder)


def is_labels(path: str) -> bool:
    """Return whether a file is called labels.csv, labels.json or similar, ignoring case."""
    return path.lower().rpartition("/")[2] in {f"labels{suffix}" for suffix in TABLE_SUFFIXES}


def common_top(
    files: Sequence[str], folders: Sequence[str], known: Collection[str] = ()
) -> str | None:
    """Return the path of the folders that wrap the whole data set and are no class, or None.

    `photos/new/cat/1.jpg` with `photos/new/dog/2.jpg` -> `photos/new`; `cat/1.jpg` -> None. Files
    and empty folders beside a wrapper are ignored. A single `test` or `val` is not a wrapper: its
    photos must not be trained on by accident. A folder with the name of a `known` class is none
    either, nor is `unlabelled`.
    """
    with_labels = {p.rpartition("/")[0] for p in files if is_labels(p)}
    with_tables = {p.rpartition("/")[0] for p in files if p.lower().endswith(TABLE_SUFFIXES)}
    here = folder_tree(files, folders)
    while here.path not in with_labels and len(inside := list(here)) == 1:
        top = inside[0]
        if (
            top.name in known
            or is_unlabelled(top.name)
            or (not top.nested and top.path not in with_tables)
        ):
            break
        has_train = top.path in with_tables or any(split_of(f.name) == "train" for f in top)
        if split_of(top.name) in ("val", "test") and not has_train:
            break
        here = top
    return here.path or None


def layout_by_folder(
    files: Sequence[str],
    folders: Sequence[str],
    findings: Findings,
    *,
    is_train: bool = False,
    partial: bool = False,
) -> Layout:
    """Return the layout that the folders give; see `folder_layout`.

    is_train: a folder called `train` was around all others, so these are the classes.
    partial: the photos are added to a data set, so `train` may be missing.
    """
    tree = folder_tree(files, folders)
    reading = read_folders(tree, findings, is_train=is_train, partial=partial)
    layout = Layout(ignored={path.rpartition("/")[2] for path in reading.left_out})
    if findings.problems:
        return layout
    for path in files:
        place, reason = _find(path, reading)
        if place is _UNLABELLED:
            layout.unlabelled.append(path)
        elif place is None:
            layout.outside.append((path, reason))
        else:
            folder, (split, class_name) = place
            layout.add(Candidate(path, class_name, split), folder)
    return layout


_Place = tuple[str, tuple[Split, str]]
_UNLABELLED: _Place = "", ("train", "")
"""The place of files without a label: no class has an empty name."""


def _find(path: str, reading: Reading) -> tuple[_Place | None, str]:
    """The deepest folder with a meaning that contains `path`, or the reason why there is none."""
    place: _Place | None = None
    reason = reading.outside
    end = path.find("/")
    for _ in range(MAX_LEVELS):
        if end < 0:
            break
        folder = path[:end]
        if folder in reading.unlabelled:
            return _UNLABELLED, reason
        if folder in reading.places:
            place = folder, reading.places[folder]
        elif folder in reading.left_out:
            place, reason = None, reading.left_out[folder]
        end = path.find("/", end + 1)
    return place, reason


def drop_unknown_classes(layout: Layout, findings: Findings) -> None:
    """Leave out the classes that only val or test has, with a warning.

    Reports a problem instead if such a class has the words of a training class, or if no class of
    the split is a training class: then the names are wrong.
    """
    known = {name for split, name in layout.class_folders if split == "train"}
    if not known:
        return
    by_words = {words_of(name).casefold(): name for name in known}
    unknown: dict[tuple[Split, str], int] = {}
    for split in ("val", "test"):
        names = {name for s, name in layout.class_folders if s == split}
        for name in sorted(names - known):
            folder = printable(layout.class_folders[split, name])
            message = f"{split} has a class that train does not have"
            if meant := by_words.get(words_of(name).casefold()):
                message += f"; is it {printable(meant)!r}?"
            elif names.isdisjoint(known):
                message += "; add training images or remove it"
            else:
                unknown[split, name] = 0
                continue
            findings.problem(folder, "class_not_in_train", message)
    if not unknown:
        return
    kept = []
    for file in layout.candidates:
        key = file.split, file.class_name
        if key in unknown:
            unknown[key] += 1
            layout.outside.append((file.path, f"train has no class {printable(file.class_name)!r}"))
        else:
            kept.append(file)
    layout.candidates = kept
    for (split, name), count in unknown.items():
        folder = printable(layout.class_folders.pop((split, name)))
        findings.warning(
            "class_not_in_train",
            f"{folder}: {split} has a class that train does not have; it is left out "
            f"({counted(count, 'file')})",
        )
