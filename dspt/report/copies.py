"""Report copies of photos: in one class, in several classes, in training and in test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dspt.data.dataset import Dataset
from dspt.kit.text import listed, printable
from dspt.report.finding import HealthFile, HealthFinding

_EXAMPLES = 3
_FILES_SHOWN = 5
_LISTED = 100
"""Most groups of one kind that are listed in the metrics."""

Files = tuple[str, ...]


@dataclass(frozen=True)
class CopyReport:
    """Groups of files that show the same photo; each photo counts once."""

    photos: int
    """Different photos in the data set."""
    copies: int
    """Files beyond one per photo."""
    in_class: tuple[Files, ...]
    """Groups in which all files have the same label."""
    across_classes: tuple[Files, ...]
    """Groups with several labels, of which at most one is right."""
    across_splits: tuple[Files, ...]
    """Groups in training and in `test/` or `val/`; these files are not measured."""
    single_photo: tuple[str, ...]
    """Classes whose training files all are copies of one photo."""

    @classmethod
    def of(cls, dataset: Dataset, groups: NDArray[np.int64]) -> CopyReport:
        """Build the report. groups: (N,), equal for copies of a photo."""
        members: dict[int, list[int]] = {}
        for row, group in enumerate(groups.tolist()):
            members.setdefault(group, []).append(row)
        items = dataset.items
        in_class, across_classes, across_splits = [], [], []
        for rows in members.values():
            files = tuple(items[row].path for row in rows)
            splits = {items[row].split for row in rows}
            if len({items[row].label for row in rows}) > 1:
                across_classes.append(files)
            elif len(rows) > 1 and len(splits) == 1:
                in_class.append(files)
            if "train" in splits and len(splits) > 1:
                across_splits.append(files)
        photos_of: dict[int, list[int]] = {}
        for item, group in zip(items, groups.tolist(), strict=True):
            if item.split == "train":
                photos_of.setdefault(item.label, []).append(group)
        return cls(
            photos=len(members),
            copies=len(items) - len(members),
            in_class=tuple(in_class),
            across_classes=tuple(across_classes),
            across_splits=tuple(across_splits),
            single_photo=tuple(
                dataset.classes[label]
                for label, found in sorted(photos_of.items())
                if len(found) > 1 and len(set(found)) == 1
            ),
        )

    def to_dict(self, *, leaked: int, accuracy_with_leaked: float | None) -> dict[str, Any]:
        """Plain values for JSON, with at most 100 groups of each kind, and 100 files of each.

        leaked: images that are not measured because they have a copy in training;
        accuracy_with_leaked: accuracy of the served classifier if they were measured.
        """
        found = asdict(self) | {"leaked": leaked, "accuracy_with_leaked": accuracy_with_leaked}
        for kind in ("in_class", "across_classes", "across_splits"):
            found[f"n_{kind}"] = len(found[kind])
            found[kind] = [list(files[:_LISTED]) for files in found[kind][:_LISTED]]
        return found | {"single_photo": list(self.single_photo)}

    def findings(
        self, *, leaked: int = 0, accuracies: tuple[float, float] | None = None
    ) -> list[HealthFinding]:
        """One finding per kind of copies, with three examples.

        accuracies: of the served classifier without and with the leaked images.
        """
        found = []
        if self.in_class:
            text = (
                f"{_count(self.in_class, 'photo')} in the data set more than once in the same "
                "class; copies count as one photo and are never on both sides of a split: "
                f"{_examples(self.in_class)}"
            )
            found.append(_finding("copies_in_class", text, self.in_class))
        if self.across_classes:
            text = (
                f"{_count(self.across_classes, 'photo')} in several classes, so a label is wrong: "
                f"{_examples(self.across_classes)}"
            )
            found.append(_finding("copies_across_classes", text, self.across_classes))
        if self.across_splits:
            text = f"{_count(self.across_splits, 'photo')} both in train and in test or val; " + (
                "1 image is not measured" if leaked == 1 else f"{leaked:,} images are not measured"
            )
            if accuracies:
                without, with_them = accuracies
                text += f" (accuracy {without:.1%} without them, {with_them:.1%} with them)"
            text += f": {_examples(self.across_splits)}"
            found.append(_finding("copies_across_splits", text, self.across_splits))
        for name in self.single_photo:
            text = (
                f"{printable(name)} has copies of a single photo; add more images, the result "
                "depends on this single one"
            )
            found.append(HealthFinding.of("single_photo", text, classes=[name]))
        return found


def _finding(kind: str, text: str, groups: Sequence[Files]) -> HealthFinding:
    files = [
        HealthFile(file, "" if file is first else f"same photo as {first}")
        for first, *others in groups
        for file in (first, *others)
    ]
    return HealthFinding.of(kind, text, files=files)


def _count(groups: Sequence[Files], what: str) -> str:
    return f"1 {what} is" if len(groups) == 1 else f"{len(groups):,} {what}s are"


def _examples(groups: Sequence[Files]) -> str:
    return listed(
        groups, _EXAMPLES, lambda files: listed(files, _FILES_SHOWN, printable), separator="; "
    )
