"""Decide what the folders of a data set mean: splits, classes, or something else.

Four readings are possible: `<split>/<class>`, `<class>`, `<class>/<split>` and `<part>/<class>`.
The names and the structure decide. If two readings fit, the data set is refused with both.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dspt.data.findings import Findings
from dspt.data.split_names import (
    USUAL,
    Split,
    is_generic,
    is_unlabelled,
    is_unsorted,
    split_of,
    split_within,
)
from dspt.data.tree import Folder
from dspt.kit.text import counted, printable

_SHOWN = 3
_MANY = 25_000
"""With more folders at the top, these are classes, too many to be used."""
_UNSORTED = "its name says that its photos have no class yet"
_NUMBERED_CLASSES = frozenset(
    ["class", "category", "label", "grade", "stage", "type", "level", "species", "klasse", "classe"]
)


@dataclass
class Reading:
    """The meaning of folders, by path."""

    places: dict[str, tuple[Split, str]] = field(default_factory=dict)
    """Split and class of a class folder. All files below belong to it."""
    unlabelled: set[str] = field(default_factory=set)
    """Folders of photos to be used without labels, beside the class folders of the training set."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Folders that are not used, with the reason."""
    outside: str = "outside the class folders"
    """The reason for all other files."""


def read_folders(
    root: Folder, findings: Findings, *, is_train: bool = False, partial: bool = False
) -> Reading:
    """Return the reading of the folders in `root`. Problems and assumptions go to `findings`.

    is_train: the folder around all others is called `train`, so these are the classes.
    partial: the photos are added to a data set, so `train` may be missing.
    """
    reading = Reading()
    for folder in root.empty_folders:
        _leave_out(folder, "it has no images", reading, findings)
    tops: list[Folder] = []
    for folder in root:
        if is_unlabelled(folder.name):
            reading.unlabelled.add(folder.path)
        elif is_unsorted(folder.name):
            _leave_out(folder, _UNSORTED, reading, findings)
        else:
            tops.append(folder)
    nested = [top for top in tops if top.nested]
    parts = {} if len(tops) > _MANY else _splits_among(nested)
    if len(tops) > _MANY:
        reading.places = {top.path: ("train", top.name) for top in tops}
    elif parts:
        _split_then_class(tops, parts, reading, findings, partial)
    elif any(_splits_inside(top) for top in nested):
        _class_then_split(tops, reading, findings)
    elif not is_train and _share_subfolders(nested):
        _part_or_class(tops, reading, findings)
    else:
        _class_folders(tops, reading, findings)
    return reading


def _splits_among(nested: Sequence[Folder]) -> dict[str, Split]:
    """The folders that are splits, by path. `seg_train` counts if all others are splits too."""
    certain = {f.path: split for f in nested if (split := split_of(f.name))}
    likely = {f.path: split for f in nested if (split := split_of(f.name) or split_within(f.name))}
    if len(likely) == len(nested) and len(set(likely.values())) > 1:
        return likely
    return certain


def _split_then_class(
    tops: Sequence[Folder],
    parts: dict[str, Split],
    reading: Reading,
    findings: Findings,
    partial: bool,
) -> None:
    folders = [top for top in tops if top.path in parts]
    others = [top for top in tops if top.path not in parts]
    unlabelled = [top for top in others if split_of(top.name) and not top.nested]
    others = [top for top in others if not split_of(top.name) or top.nested]
    splits = set(parts.values())
    if "train" not in splits and not others and not partial:
        findings.problem(
            "",
            "no_train",
            f"found {_names(folders)} but no train/ folder; add it, or move the class folders up "
            "one level to train on them",
        )
        return
    if others and ("train" not in splits or len(splits) == 1):
        findings.problem("", "ambiguous_layout", _mixed(folders, others))
        return
    reading.outside = f"outside {_names(folders)}"
    for top in unlabelled:
        _leave_out(top, "it has no class folders", reading, findings)
    for top in others:
        _leave_out(top, f"it is beside {_names(folders)}", reading, findings)
    if any(top.name.lower() not in USUAL for top in folders):
        read_as = ", ".join(f"{printable(top.name)}/ as {parts[top.path]}" for top in folders)
        findings.warning("layout", f"the folders are read as splits: {read_as}")
    known: list[str] = []
    for top in sorted(folders, key=lambda top: parts[top.path] != "train"):
        inner = top.inner(known)
        reading.left_out[top.path] = f"in {printable(top.path)}/ but in no class folder"
        for folder in inner.empty_folders:
            _leave_out(folder, "it has no images", reading, findings)
        classes = []
        for folder in inner:
            if is_unlabelled(folder.name) and parts[top.path] == "train":
                reading.unlabelled.add(folder.path)
                continue
            if is_unsorted(folder.name):
                _leave_out(folder, _UNSORTED, reading, findings)
                continue
            if known and is_generic(folder.name) and folder.name not in known:
                _leave_out(folder, "it has no class folders", reading, findings)
                continue
            classes.append(folder)
            reading.places[folder.path] = parts[top.path], folder.name
        if parts[top.path] == "train":
            known += [folder.name for folder in classes]
            _warn_of_subfolders(classes, findings)


def _splits_inside(top: Folder) -> dict[str, Split]:
    """The splits of the subfolders of a class, by name, if all are: `train`, or `cat_test`."""
    names = [folder.name for folder in top if not folder.nested]
    certain = {name: split for name in names if (split := split_of(name))}
    likely = {name: split for name in names if (split := split_of(name) or split_within(name))}
    found = likely if len(set(likely.values())) > 1 else certain
    return found if len(found) == len(list(top)) else {}


def _class_then_split(tops: Sequence[Folder], reading: Reading, findings: Findings) -> None:
    unclear = [top for top in tops if top.nested and not _splits_inside(top)]
    if unclear:
        clear = next(top for top in tops if top.nested and _splits_inside(top))
        findings.problem(
            "",
            "ambiguous_layout",
            f"{printable(clear.name)}/ contains {_names(clear)}, but {printable(unclear[0].name)}/ "
            f"contains {_names(unclear[0])}; either the top folders are classes that are divided "
            "into splits, or they are classes with other subfolders; arrange all photos as "
            "train/class/photo.jpg and test/class/photo.jpg",
        )
        return
    named: set[str] = set()
    to_train = 0
    for top in tops:
        reading.places[top.path] = "train", top.name
        to_train += top.images
        splits = _splits_inside(top)
        for folder in top:
            split = splits[folder.name]
            named.add(folder.name)
            reading.places[folder.path] = split, top.name
            to_train += folder.total if split == "train" else 0
    if not to_train:
        reading.places.clear()
        findings.problem("", "no_train", f"the class folders contain only {_listed(named)}")
        return
    findings.warning(
        "layout",
        f"the subfolders {_listed(named)} of the class folders are read as splits; photos directly "
        "in a class folder are used for training",
    )


def _share_subfolders(nested: Sequence[Folder]) -> bool:
    """Whether most subfolders have the same names in several of the folders."""
    counts = Counter(folder.name.casefold() for top in nested for folder in top)
    repeated = {name: n for name, n in counts.items() if n > 1}
    return len(repeated) > 1 and 2 * sum(repeated.values()) >= counts.total()


def _part_or_class(tops: Sequence[Folder], reading: Reading, findings: Findings) -> None:
    nested = [top for top in tops if top.nested]
    below = {folder.name: folder for top in nested for folder in top}
    outer, inner = _is_series(top.name for top in nested), _is_series(below)
    shared = f"{_names(nested)} contain the same subfolders ({_listed(below)})"
    if outer and not inner and not any(top.images for top in tops):
        for top in nested:
            for folder in top:
                reading.places[folder.path] = "train", folder.name
        findings.warning(
            "layout",
            f"{shared}: the subfolders are read as the classes, and {_names(nested)} as parts of "
            "the training images",
        )
    elif inner and not outer:
        _class_folders(tops, reading, findings)
    else:
        findings.problem(
            "",
            "ambiguous_layout",
            f"{shared}; either the subfolders are the classes and {_names(nested)} are splits, or "
            f"{_names(nested)} are the classes; for splits, rename the folders to train, val and "
            f"test; for classes, move the class folders into a folder train/{_looks_like(nested)}",
        )


def _is_series(names: Iterable[str]) -> bool:
    """Whether the names are numbers, or one word with numbers, such as fold1, fold2."""
    words = {"".join(re.findall(r"[^\W\d_]+", name.casefold())) for name in names}
    return len(words) == 1 and not words & _NUMBERED_CLASSES


def _class_folders(tops: Sequence[Folder], reading: Reading, findings: Findings) -> None:
    splits = [top for top in tops if split_of(top.name)]
    if splits and len(splits) == len(tops):
        for top in splits:
            reading.left_out[top.path] = f"in {printable(top.path)}/ but in no class folder"
        return
    others = [top for top in tops if top not in splits]
    if len(others) > 1 and all(split_of(top.name) != "train" for top in splits):
        for top in splits:
            _leave_out(top, "it has no class folders", reading, findings)
        tops = others
    elif splits:  # a train may be a vehicle
        findings.warning(
            "layout",
            f"photos, but no class folders, are in {_names(splits)}, so they are read as classes",
        )
    for top in tops:
        reading.places[top.path] = "train", top.name
    _warn_of_subfolders(tops, findings)


def _warn_of_subfolders(classes: Sequence[Folder], findings: Findings) -> None:
    names = {folder.name for top in classes for folder in top}
    if not names or (len(names) == 1 and all(is_generic(name) for name in names)):
        return
    nested = [top for top in classes if top.nested]
    have, kind = ("has", "class") if len(nested) == 1 else ("have", "classes")
    findings.warning(
        "layout",
        f"{_names(nested)} {have} subfolders ({_listed(names)}), whose photos are read as the "
        f"{kind} {_listed(top.name for top in nested)}; if the subfolders are the classes, move "
        "them up one level",
    )


def _mixed(splits: Sequence[Folder], others: Sequence[Folder]) -> str:
    top, beside = splits[0], _names(others)
    name = printable(top.name)
    to_train = f"moved into {name}/" if split_of(top.name) == "train" else "moved into train/"
    classes = _listed(folder.name for folder in (*splits, *others))
    return (
        f"{name}/ contains {_names(top.inner())}, and beside it there is {beside}; either the "
        f"classes are the folders inside {name}/, and {beside} must be {to_train}, renamed to val/ "
        f"or test/, or removed; or the classes are {classes}, and {name}/ must be renamed"
        f"{_looks_like(others)}"
    )


def _looks_like(folders: Iterable[Folder]) -> str:
    """A hint at names that are almost those of splits."""
    hints = ""
    for name in (folder.name for folder in folders if folder.name.lower() not in USUAL):
        for close in difflib.get_close_matches(name.lower(), sorted(USUAL), 1, 0.7):
            hints += f"; {printable(name)}/ looks like {close}/"
    return hints


def _leave_out(folder: Folder, why: str, reading: Reading, findings: Findings) -> None:
    path = printable(folder.path)
    reading.left_out[folder.path] = f"{path}/ is left out: {why}"
    size = f" ({counted(folder.total, 'file')})" if folder.total else ""
    findings.warning("left_out", f"{path}/ is left out{size}: {why}")


def _names(folders: Iterable[Folder]) -> str:
    return _listed(f"{folder.name}/" for folder in folders)


def _listed(names: Iterable[str]) -> str:
    shown = sorted((printable(name) for name in names), key=str.lower)
    if len(shown) > _SHOWN + 1:
        shown[_SHOWN:] = [f"{len(shown) - _SHOWN:,} more"]
    return " and ".join([", ".join(shown[:-1]), *shown[-1:]] if len(shown) > 1 else shown)
