"""Check the classes of a data set after its files have been read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from dspt.data.findings import Findings
from dspt.data.layout import Candidate, Layout
from dspt.data.names import natural_key
from dspt.data.reading import Seen
from dspt.data.split_names import Split
from dspt.kit.text import counted, listed, printable

_REASONS_SHOWN = 3
_FILES_SHOWN = 5
_EXAMPLES = 3

Read = Sequence[tuple[Candidate, Seen]]


def train_classes(layout: Layout) -> tuple[str, ...]:
    """Return the names of the training classes, in natural order."""
    names = {name for split, name in layout.class_folders if split == "train"}
    return tuple(sorted(names, key=natural_key))


def check_classes(layout: Layout, max_classes: int, findings: Findings) -> None:
    """Report fewer than two classes, and too many."""
    classes = train_classes(layout)
    if not classes:
        # The layout may have been reported already.
        if layout.class_folders:
            message = "nothing to train on: no class folder in train/, or no row with split train"
            findings.problem("", "no_train", message)
        elif not findings.problems:
            findings.problem("", "no_classes", _no_classes(layout))
        return
    if len(classes) == 1 and not findings.problems:  # else the rows of a table were invalid
        findings.problem(
            printable(classes[0]),
            "one_class",
            "this is the only class; at least two are needed, each with its own folder",
        )
    if len(classes) > max_classes:
        message = f"{len(classes):,} classes (limit {max_classes:,})"
        findings.problem("", "too_many_classes", message)
        findings.refuse_if_any()


def _no_classes(layout: Layout) -> str:
    archives = [p for p, _ in layout.outside if p.lower().endswith((".zip", ".7z", ".rar", ".gz"))]
    if archives:
        return f"contains archives ({printable(archives[0])}); unpack them before zipping"
    if layout.unlabelled:
        return "all photos are without labels; add class folders with labelled photos"
    if not layout.outside:
        return "contains no files"
    return (
        "no class folders; arrange the photos as class/photo.jpg, train/class/photo.jpg with "
        "test/class/photo.jpg, or images/photo.jpg with a labels.csv"
    )


def usable_classes(layout: Layout, read: Read, findings: Findings) -> tuple[str, ...]:
    """Return the training classes with a readable image; the others are left out with a warning.

    Reports them as problems if fewer than two classes are left.
    """
    good = {c.class_name for c, s in read if c.split == "train" and s.reason is None}
    classes, reasons = train_classes(layout), _reasons(read)
    usable = tuple(name for name in classes if name in good)
    for name in classes:
        if name in good:
            continue
        folder = printable(layout.class_folders["train", name])
        why = f"the class has no readable image: {_joined(reasons['train', name])}"
        if len(usable) < 2:
            findings.problem(folder, "empty_class", why)
        else:
            findings.warning("empty", f"{folder} is left out; {why}")
    return usable


def check_images(layout: Layout, classes: Sequence[str], read: Read, findings: Findings) -> None:
    """Warn of classes with a single training image, and of classes that cannot be measured."""
    good = Counter((c.split, c.class_name) for c, s in read if s.reason is None)
    reasons = _reasons(read)
    for name in classes:
        folder = printable(layout.class_folders["train", name])
        if good["train", name] == 1:
            findings.warning(
                "one_image",
                f"{folder} has a single image; add more images, the result depends on this "
                "single one",
            )
    present = {split for split, _ in good}
    for split in ("val", "test"):
        if split not in present:
            continue
        measured_on = split == "test" or "test" not in present
        for name in classes:
            if good[split, name]:
                continue
            held_out = layout.class_folders.get((split, name))
            if held_out is None:
                if not measured_on:
                    continue
                message = f"{printable(name)} has no images in {split}, so it is not measured"
                findings.warning("unmeasured", message)
            else:
                why = _joined(reasons[split, name])
                findings.warning("empty", f"{printable(held_out)} has no readable image: {why}")


def _reasons(read: Read) -> dict[tuple[Split, str], list[str]]:
    reasons: dict[tuple[Split, str], list[str]] = defaultdict(list)
    for candidate, seen in read:
        if seen.reason is not None:
            name = printable(candidate.path.rpartition("/")[2])
            reasons[candidate.split, candidate.class_name].append(f"{name}: {seen.reason}")
    return reasons


def _joined(reasons: Sequence[str]) -> str:
    return listed(reasons, _REASONS_SHOWN, str, separator="; ")


def check_appearance(read: Read, findings: Findings) -> None:
    """Warn of photos that will hardly help, and of deep samples that were scaled."""
    by_remark: dict[str, list[str]] = defaultdict(list)
    for candidate, seen in read:
        for remark in seen.remarks:
            by_remark[remark].append(candidate.path)
    depths = sorted(remark for remark in by_remark if remark.endswith("bits"))
    if len(depths) > 1:
        findings.warning(
            "depth",
            f"some photos use {' and some '.join(depths)} of the 16 bits per sample, and each is "
            "scaled by its own; if a camera always writes the same, save its photos as PNG with "
            "sBIT, or with 8 bits",
        )
    for remark, paths in by_remark.items():
        images = counted(len(paths), "image")
        if remark.endswith("bits"):
            kind, bits = "depth", remark.removesuffix(" bits")
            message = f"only {bits} of the 16 bits per sample are used, and scaled as such"
        else:
            kind = remark
            message = f"{remark}; look at them, such photos may be mistakes"
        findings.warning(kind, f"{images}: {message}: {listed(paths, _EXAMPLES, printable)}", paths)


def check_case(paths: Sequence[str], findings: Findings) -> None:
    """Warn of names that differ only in case; a case-insensitive file system keeps one of them."""
    by_fold: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_fold[path.casefold()].append(path)
    for same in by_fold.values():
        if len(same) > 1:
            names = listed(same, _FILES_SHOWN, printable)
            findings.warning("case", f"names that differ only in case: {names}", same)
