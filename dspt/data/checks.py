"""What must or should hold for the classes of a data set once its files have been read."""

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
    """Names of the classes that train/ (or the only part) has a folder for, naturally sorted."""
    names = {name for split, name in layout.class_folders if split == "train"}
    return tuple(sorted(names, key=natural_key))


def check_classes(layout: Layout, max_classes: int, findings: Findings) -> None:
    """At least two classes to train on, not too many, and none that only val/ or test/ has."""
    classes = train_classes(layout)
    if not classes:
        # the layout may have said already what is wrong
        if layout.class_folders:
            message = "nothing to train on: no class folder in train/, no row that says train"
            findings.problem("", "no_train", message)
        elif not findings.problems:
            findings.problem("", "no_classes", _no_classes(layout))
        return
    if len(classes) == 1:
        findings.problem(
            printable(classes[0]),
            "one_class",
            "this is the only class; put the photos of each class into a folder of its own, "
            "two classes at least",
        )
    if len(classes) > max_classes:
        message = f"there are {len(classes):,} classes; {max_classes:,} are allowed"
        findings.problem("", "too_many_classes", message)
        findings.refuse_if_any()
    known = set(classes)
    by_words = {words_of(c).casefold(): c for c in classes}
    for (split, name), folder in sorted(layout.class_folders.items()):
        if name in known:
            continue
        meant = by_words.get(words_of(name).casefold())
        mend = f"is it {printable(meant)!r}?" if meant else "add training images or take it out"
        findings.problem(
            printable(folder),
            "class_not_in_train",
            f"{split} has a class that train has not; {mend}",
        )


def _no_classes(layout: Layout) -> str:
    archives = [p for p, _ in layout.outside if p.lower().endswith((".zip", ".7z", ".rar", ".gz"))]
    if archives:
        return f"there are archives inside ({printable(archives[0])}); unpack them before zipping"
    if not layout.outside:
        return "there are no files in it"
    return (
        "there are no class folders; lay the photos out as class/photo.jpg, train/class/photo.jpg "
        "with test/class/photo.jpg, or images/photo.jpg with a labels.csv"
    )


def check_images(layout: Layout, read: Read, findings: Findings) -> None:
    """Every class has an image that can be read; tells where there is only one, or none to
    measure on."""
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
            why = "; ".join(reasons[:_REASONS_SHOWN]) or "it holds no files"
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
                f"{printable(folder)} has a single image; add more, its prompt hangs on it",
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
    """Tells of identical files that carry different labels, or that lie in train and elsewhere."""
    by_content: dict[str, list[Candidate]] = defaultdict(list)
    for candidate, seen in read:
        if seen.reason is None:
            by_content[seen.sha256].append(candidate)
    for copies in by_content.values():
        listed = _listed([c.path for c in copies])
        if len({c.class_name for c in copies}) > 1:
            findings.warning(
                "copies_in_classes",
                f"the same image lies in several classes, so a label is wrong: {listed}",
            )
        splits = {c.split for c in copies}
        if "train" in splits and len(splits) > 1:
            others = " and ".join(sorted(splits - {"train"}))
            findings.warning(
                "copies_in_splits",
                f"the same image lies in train and in {others}, so the accuracy measured on it "
                f"says little: {listed}",
            )


def check_case(paths: Sequence[str], findings: Findings) -> None:
    """Tells of names that differ only in case: one of them is lost where case is not told."""
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
