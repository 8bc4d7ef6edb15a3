"""Health of a data set: counts, and findings with files and a fix. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dspt.data.dataset import Dataset, Rejected
from dspt.data.split_names import SPLITS
from dspt.data.tree import may_be_image
from dspt.errors import DatasetError
from dspt.kit.text import counted, listed, printable
from dspt.report.finding import HealthFile, HealthFinding, Severity

_CLASSES_LISTED = 1000
_EXAMPLES = 3
_BY_FILE = frozenset({"file_without_label", "several_labels", "class_not_in_train", "left_out"})
"""Notices about files that are left out; `Dataset.rejected` has all of these files."""
_SEVERITIES: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
"""The most serious first, each with its word in the summary."""


@dataclass(frozen=True)
class ClassCount:
    """Images of a class in each part, and its different training photos."""

    name: str
    words: str
    train: int
    val: int
    test: int
    photos: int


@dataclass(frozen=True)
class HealthReport:
    """What a job finds out about a data set, apart from wrong labels."""

    usable: bool
    """False if a job refuses the data set; then only `findings` is known."""
    images: int
    photos: int
    """Different photos: copies count once."""
    left_out: int
    """Files that are not used."""
    split: dict[str, int]
    classes: tuple[ClassCount, ...]
    """At most 1,000."""
    n_classes: int
    findings: tuple[HealthFinding, ...]
    """The most serious first."""

    @classmethod
    def of(
        cls, dataset: Dataset, groups: NDArray[np.int64], findings: Sequence[HealthFinding]
    ) -> HealthReport:
        """Build the report. groups: (N,), equal for copies of a photo; findings: further ones,
        which need the groups, splits or a backbone."""
        split = Counter(item.split for item in dataset.items)
        counts = Counter((item.label, item.split) for item in dataset.items)
        photos: dict[int, set[int]] = {}
        for item, group in zip(dataset.items, groups.tolist(), strict=True):
            if item.split == "train":
                photos.setdefault(item.label, set()).add(group)
        named = list(zip(dataset.classes, dataset.class_words, strict=True))[:_CLASSES_LISTED]
        return cls(
            usable=True,
            images=len(dataset.items),
            photos=len(np.unique(groups)),
            left_out=len(dataset.rejected),
            split={name: split[name] for name in SPLITS},
            classes=tuple(
                ClassCount(
                    name,
                    words,
                    **{part: counts[label, part] for part in SPLITS},
                    photos=len(photos.get(label, ())),
                )
                for label, (name, words) in enumerate(named)
            ),
            n_classes=len(dataset.classes),
            findings=_sorted([*_of_files(dataset), *findings]),
        )

    @classmethod
    def refused(cls, error: DatasetError) -> HealthReport:
        """Build the report of a data set that a job refuses."""
        by_code: dict[str, list[str]] = {}
        for problem in error.problems:
            where = f"{printable(problem.where)}: " if problem.where else ""
            by_code.setdefault(problem.code, []).append(where + problem.message)
        findings = [
            HealthFinding.refusal(code, "; ".join(texts), len(texts))
            for code, texts in by_code.items()
        ]
        return cls(
            usable=False,
            images=0,
            photos=0,
            left_out=0,
            split=dict.fromkeys(SPLITS, 0),
            classes=(),
            n_classes=0,
            findings=tuple(findings),
        )

    @property
    def summary(self) -> str:
        """The report in one sentence."""
        count = Counter(finding.severity for finding in self.findings)
        found = ", ".join(counted(count[severity], word) for severity, word in _SEVERITIES.items())
        if not self.usable:
            return f"A job refuses this data set: {found}."
        return (
            f"{counted(self.images, 'image')} of {counted(self.n_classes, 'class', 'classes')}, "
            f"{counted(self.photos, 'different photo')}, {counted(self.left_out, 'file')} left "
            f"out: {found}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "usable": self.usable,
            "summary": self.summary,
            "images": self.images,
            "photos": self.photos,
            "left_out": self.left_out,
            "split": self.split,
            "n_classes": self.n_classes,
            "classes": [vars(each) for each in self.classes],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def _sorted(findings: Sequence[HealthFinding]) -> tuple[HealthFinding, ...]:
    order = list(_SEVERITIES)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


def _of_files(dataset: Dataset) -> list[HealthFinding]:
    """Findings from reading the files."""
    unreadable = [r for r in dataset.rejected if r.unreadable]
    others = [r for r in dataset.rejected if not r.unreadable]
    images = [r for r in others if may_be_image(r.file)]
    no_images = [r for r in others if not may_be_image(r.file)]
    found = []
    if unreadable:
        found.append(_rejected("unreadable", unreadable))
    about = [notice for notice in dataset.notices if notice.kind in _BY_FILE]
    if about:
        text = "; ".join(notice.text for notice in about)
        found.append(HealthFinding.of("left_out", text, files=_files(images)))
    elif images:
        found.append(_rejected("left_out", images))
    if no_images:
        found.append(_rejected("other_files", no_images))
    for notice in dataset.notices:
        if notice.kind not in _BY_FILE:
            files = [HealthFile(file) for file in notice.files]
            found.append(
                HealthFinding.of(notice.kind, notice.text, count=notice.count, files=files)
            )
    return found


def _rejected(kind: str, rejected: Sequence[Rejected]) -> HealthFinding:
    files = "1 file is" if len(rejected) == 1 else f"{len(rejected):,} files are"
    examples = listed(rejected, _EXAMPLES, lambda r: f"{printable(r.file)}: {r.reason}", "; ")
    return HealthFinding.of(kind, f"{files} left out: {examples}", files=_files(rejected))


def _files(rejected: Sequence[Rejected]) -> list[HealthFile]:
    return [HealthFile(r.file, r.reason) for r in rejected]
