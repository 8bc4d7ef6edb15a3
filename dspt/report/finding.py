"""What may be wrong with a data set: kinds of findings, how serious they are, how to fix them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from dspt.data.findings import FILES_LISTED

Severity = Literal["error", "warning", "info"]
"""error: a job refuses the data; warning: the result may suffer; info: good to know."""


class _Kind(NamedTuple):
    severity: Severity
    title: str
    fix: str


_LOOK = "Look at these photos and remove those that are mistakes."
_ARRANGE = "arrange the photos as train/class/photo.jpg and test/class/photo.jpg."
_KINDS = {
    "copies_across_classes": _Kind(
        "warning",
        "the same photo in several classes",
        "Keep each photo in its right class and remove the copies.",
    ),
    "copies_across_splits": _Kind(
        "warning",
        "the same photo in training and in test",
        "Remove the copies from test/ (or val/), or take other photos for it.",
    ),
    "copies_in_class": _Kind(
        "info",
        "copies within a class",
        "Nothing has to be done: copies count as one photo. Other photos would help more.",
    ),
    "single_photo": _Kind(
        "warning", "classes with copies of a single photo", "Add other photos of these classes."
    ),
    "one_image": _Kind("warning", "classes with a single image", "Add photos of these classes."),
    "imbalance": _Kind(
        "warning", "classes with far fewer photos", "Add photos of the small classes."
    ),
    "unmeasured": _Kind(
        "warning",
        "classes that are not measured",
        "Add photos of these classes, to test/ if there is one.",
    ),
    "empty": _Kind(
        "warning", "classes without images", "Add photos of these classes, or remove the folders."
    ),
    "unreadable": _Kind(
        "warning", "unreadable files", "Replace the files by readable images, or remove them."
    ),
    "left_out": _Kind(
        "warning",
        "files left out",
        "Move the files into a class folder, add their rows to the table, or remove them.",
    ),
    "other_files": _Kind("info", "other files", "Nothing has to be done: they are not images."),
    "archive": _Kind("warning", "archives", "Unpack the archives before zipping."),
    "tiny": _Kind("warning", "tiny photos", f"{_LOOK} Use larger versions of the others."),
    "very dark": _Kind("warning", "very dark photos", _LOOK),
    "of a single colour": _Kind("warning", "photos of a single colour", _LOOK),
    "blurred": _Kind("warning", "blurred photos", _LOOK),
    "zero_shot": _Kind(
        "warning",
        "names that say little to the backbone",
        "Give these classes words that describe the photos in class_names, for example "
        '{"class_3": "red fox"}. Check that no names are swapped.',
    ),
    "names": _Kind(
        "warning",
        "names without a meaning",
        "Give these classes words that describe the photos in class_names, for example "
        '{"class_3": "red fox"}.',
    ),
    "look_alike": _Kind(
        "warning",
        "class names that look the same",
        "Merge the folders if they are one class. Otherwise rename one of them.",
    ),
    "case": _Kind("warning", "names that differ only in case", "Rename the files or folders."),
    "layout": _Kind("info", "assumed layout", f"Check that this is right. If not, {_ARRANGE}"),
    "table": _Kind(
        "info",
        "tables that are not used",
        "Nothing has to be done if the folders are right. Otherwise call the table labels.csv.",
    ),
    "duplicate_row": _Kind("info", "rows that are repeated", "Nothing has to be done."),
    "code_page": _Kind(
        "info",
        "assumed encoding of the names",
        "Check the names of the classes. If they are wrong, create the zip with UTF-8 names.",
    ),
    "depth": _Kind(
        "info",
        "assumed bit depth",
        "Look at these photos. If they are wrong, save them with 8 bits per sample.",
    ),
    "unlabelled": _Kind(
        "info",
        "photos without labels",
        "Nothing has to be done. Photos that show none of the classes should not be there.",
    ),
    "unlabelled_unused": _Kind(
        "info", "photos without labels that are not used", "Nothing has to be done."
    ),
    "wordnet": _Kind(
        "info", "words for WordNet ids", "Check the words; class_names replaces them."
    ),
}
_OTHER = _Kind("warning", "other warnings", "See the warning.")
_REFUSED_FIX = "Correct this: a job refuses the data until then."


@dataclass(frozen=True)
class HealthFile:
    """A file, and what there is to know about it."""

    file: str
    note: str = ""


@dataclass(frozen=True)
class HealthFinding:
    """One kind of finding."""

    kind: str
    severity: Severity
    title: str
    text: str
    """One or several sentences, with up to three examples."""
    fix: str
    count: int
    """Number of files or, if it concerns no single files, of classes or other things."""
    files: tuple[HealthFile, ...] = ()
    """At most 100."""
    classes: tuple[str, ...] = ()
    """At most 100."""

    @classmethod
    def of(
        cls,
        kind: str,
        text: str,
        *,
        count: int | None = None,
        files: Sequence[HealthFile] = (),
        classes: Sequence[str] = (),
    ) -> HealthFinding:
        """Build a finding of a known kind. count: default is the number of files or classes."""
        severity, title, fix = _KINDS.get(kind, _OTHER)
        total = len(files) or len(classes) or 1
        return cls(
            kind=kind,
            severity=severity,
            title=title,
            text=text,
            fix=fix,
            count=total if count is None else count,
            files=tuple(files[:FILES_LISTED]),
            classes=tuple(classes[:FILES_LISTED]),
        )

    @classmethod
    def refusal(cls, code: str, text: str, count: int) -> HealthFinding:
        """Build a finding for which a job refuses the data. code: of the problems."""
        return cls(code, "error", code.replace("_", " "), text, _REFUSED_FIX, count)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
