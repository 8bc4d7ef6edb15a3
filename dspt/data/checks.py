"""Check the classes of a data set after its files have been read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dspt.data.class_words import words_of
from dspt.data.findings import Findings
from dspt.data.layout import Candidate, Layout, Split
from dspt.data.names import natural_key
from dspt.data.reading import Seen
from dspt.kit.text import printable

_REASONS_SHOWN = 3
_FILES_SHOWN = 5

Read = Sequence[tuple[Candidate, Seen]]


def train_classes(layout: Layout) -> tuple[str, ...]:
    """Return the names of the training classes, in natural order."""
    names = {name for split, name in layout.class_folders if split == "train"}
    return tuple(sorted(names, key=natural_key))


def check_classes(layout: Layout, max_classes: int, findings: Findings) -> None:
    """Report fewer than two classes, too many, and classes that only val/ or test/ has."""
    classes = train_classes(layout)
    if not classes:
        # The layout may have been reported already.
        if layout.class_folders:
            message = "nothing to train on: no class folder in train/, or no row with split train"
            findings.problem("", "no_train", message)
        elif not findings.problems:
            findings.problem("", "no_classes", _no_classes(layout))
        return
    if len(classes) == 1:
        findings.problem(
            printable(classes[0]),
            "one_class",
            "this is the only class; at least two are needed, each with its own folder",
        )
    if len(classes) > max_classes:
        message = f"{len(classes):,} classes (limit {max_classes:,})"
        findings.problem("", "too_many_classes", message)
        findings.refuse_if_any()
    known = set(classes)
    by_words = {words_of(c).casefold(): c for c in classes}
    for (split, name), folder in sorted(layout.class_folders.items()):
        if name in known:
            continue
        meant = by_words.get(words_of(name).casefold())
        hint = f"is it {printable(meant)!r}?" if meant else "add training images or remove it"
        findings.problem(
            printable(folder),
            "class_not_in_train",
            f"{split} has a class that train does not have; {hint}",
        )


def _no_classes(layout: Layout) -> str:
    archives = [p for p, _ in layout.outside if p.lower().endswith((".zip", ".7z", ".rar", ".gz"))]
    if archives:
        return f"contains archives ({printable(archives[0])}); unpack them before zipping"
    if not layout.outside:
        return "contains no files"
    return (
        "no class folders; arrange the photos as class/photo.jpg, train/class/photo.jpg with "
        "test/class/photo.jpg, or images/photo.jpg with a labels.csv"
    )


def check_images(layout: Layout, read: Read, findings: Findings) -> None:
    """Report classes without a readable image, with a single one, or with none to measure on."""
    good: dict[tuple[Split, str], int] = defaultdict(int)
    bad: dict[tuple[Split, str], list[str]] = defaultdict(list)
    for candidate, seen in read:
        key = candidate.split, candidate.class_name
        if seen.reason is None:
            good[key] += 1
        else:
            name = printable(candidate.path.rpartition("/")[2])
            bad[key].append(f"{name}: {seen.reason}")
    for (split, name), folder in layout.class_folders.items():
        n_good, reasons = good[split, name], bad[split, name]
        if n_good == 0:
            why = "; ".join(reasons[:_REASONS_SHOWN]) or "it has no files"
            more = len(reasons) - _REASONS_SHOWN
            why += f"; and {more:,} more" if more > 0 else ""
            if split == "train":
                findings.problem(
                    printable(folder), "empty_class", f"the class has no readable image: {why}"
                )
            else:
                findings.warning("empty", f"{printable(folder)} has no readable image: {why}")
        elif n_good == 1 and split == "train":
            findings.warning(
                "one_image",
                f"{printable(folder)} has a single image; add more images, the result depends on "
                "this single one",
            )
    for split in ("val", "test"):
        if not any(n for (s, _), n in good.items() if s == split):
            continue
        for name in train_classes(layout):
            if (split, name) not in layout.class_folders:
                findings.warning(
                    "unmeasured",
                    f"{printable(name)} has no images in {split}, so it is not measured",
                )


def check_copies(read: Read, findings: Findings) -> None:
    """Warn of identical files with different labels, or in train and in another split."""
    by_content: dict[str, list[Candidate]] = defaultdict(list)
    for candidate, seen in read:
        if seen.reason is None:
            by_content[seen.sha256].append(candidate)
    for copies in by_content.values():
        listed = _listed([c.path for c in copies])
        if len({c.class_name for c in copies}) > 1:
            findings.warning(
                "copies_in_classes",
                f"the same image is in several classes, so a label is wrong: {listed}",
            )
        splits = {c.split for c in copies}
        if "train" in splits and len(splits) > 1:
            others = " and ".join(sorted(splits - {"train"}))
            findings.warning(
                "copies_in_splits",
                f"the same image is in train and in {others}, so the measured accuracy is not "
                f"reliable: {listed}",
            )


def check_case(paths: Sequence[str], findings: Findings) -> None:
    """Warn of names that differ only in case; a case-insensitive file system keeps one of them."""
    by_fold: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_fold[path.casefold()].append(path)
    for same in by_fold.values():
        if len(same) > 1:
            findings.warning("case", f"names that differ only in case: {_listed(same)}")


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - _FILES_SHOWN
    listed = ", ".join(printable(path) for path in paths[:_FILES_SHOWN])
    return f"{listed} and {more:,} more" if more > 0 else listed
