"""Corrections of labels, applied to a data set without reading the images again."""

from __future__ import annotations

import dataclasses
import difflib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from dspt.data import Dataset, Item, dataset_digest
from dspt.data.findings import Findings
from dspt.kit.text import printable

_CLASSES_SHOWN = 20
SHOWN_PER_KIND = 100
"""Corrections with problems that are listed, so that a table can be corrected in one pass."""


@dataclass(frozen=True)
class Corrections:
    """Training files to relabel and to drop.

    Files have the names of the audit. They are only looked up among the files of a data set, never
    opened.
    """

    relabel: Mapping[str, str] = field(default_factory=dict)
    """File -> its correct class."""
    drop: frozenset[str] = frozenset()

    @classmethod
    def of(cls, relabel: Mapping[str, str] | None = None, drop: Iterable[str] = ()) -> Self:
        """Create corrections with names in Unicode form NFC, as in data sets."""
        pairs = (relabel or {}).items()
        return cls({_nfc(file): _nfc(name) for file, name in pairs}, frozenset(map(_nfc, drop)))

    def __bool__(self) -> bool:
        return bool(self.relabel or self.drop)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in a fixed order; `from_dict` restores them."""
        return {"relabel": dict(sorted(self.relabel.items())), "drop": sorted(self.drop)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(dict(data["relabel"]), frozenset(data["drop"]))

    def on_top_of(self, earlier: Corrections) -> Corrections:
        """Combine with `earlier` corrections; for a file in both, these apply."""
        kept = {f: name for f, name in earlier.relabel.items() if f not in self.drop}
        dropped = earlier.drop - self.relabel.keys()
        return Corrections(kept | dict(self.relabel), dropped | self.drop)

    def checked(
        self,
        classes: Sequence[str],
        given: Mapping[str, str],
        held_out: Collection[str] = (),
        *,
        may_change_nothing: bool = False,
    ) -> Corrections:
        """Return the corrections that change something.

        given: class of each training file; held_out: files of val/ and test/.
        Raises DatasetError with all that is wrong: unknown files or classes, files of val/ or
        test/, files both relabelled and dropped, a class that would have no training image left,
        or nothing changed.
        """
        findings = Findings(SHOWN_PER_KIND)
        changed = self._known(classes, given, held_out, findings)
        if not (findings.problems or changed or may_change_nothing):
            findings.problem(
                "",
                "nothing_changed",
                "the corrections change nothing; relabel at least one file to another class, or "
                "drop one",
            )
        findings.refuse_if_any()
        return changed

    def apply(self, dataset: Dataset, *, may_change_nothing: bool = False) -> Dataset:
        """Return `dataset` with corrected labels and without the dropped files.

        Both share one source: closing either closes both. `may_change_nothing` is for accumulated
        corrections, where a later one may revert an earlier one. Raises DatasetError
        as `checked` does.
        """
        given = {i.path: dataset.classes[i.label] for i in dataset.items if i.split == "train"}
        held_out = {item.path for item in dataset.items if item.split != "train"}
        changed = self.checked(
            dataset.classes, given, held_out, may_change_nothing=may_change_nothing
        )
        index = {name: label for label, name in enumerate(dataset.classes)}
        rows = [row for row, item in enumerate(dataset.items) if item.path not in changed.drop]
        items = []
        for item in (dataset.items[row] for row in rows):
            to = changed.relabel.get(item.path)
            items.append(item if to is None else Item(item.path, index[to], item.split))
        corrected = dataclasses.replace(
            dataset,
            items=tuple(items),
            hashes=tuple(dataset.hashes[row] for row in rows),
            uploaded=dataset.uploaded or dataset.items,
        )
        return dataclasses.replace(
            corrected,
            sha256=dataset_digest(
                (item.path, dataset.classes[item.label], item.split, sha256)
                for item, sha256 in zip(corrected.items, corrected.hashes, strict=True)
            ),
        )

    def _known(
        self,
        classes: Sequence[str],
        given: Mapping[str, str],
        held_out: Collection[str],
        findings: Findings,
    ) -> Corrections:
        """The valid corrections that change something; the problems go to `findings`."""
        unknown = [f for f in (*self.relabel, *sorted(self.drop)) if f not in given]
        _report_unknown(dict.fromkeys(unknown), given, held_out, findings)
        for file in self.relabel:
            if file in self.drop:
                findings.problem(
                    printable(file), "relabelled_and_dropped", "relabel it or drop it, not both"
                )
        known = set(classes)
        elsewhere = [(file, name) for file, name in self.relabel.items() if name not in known]
        for number, (file, name) in enumerate(elsewhere):
            # later messages are not shown, and finding a similar name takes time
            hint = _meant(name, classes) if number < SHOWN_PER_KIND else ""
            message = f"there is no class {printable(name)!r}; {hint}"
            findings.problem(printable(file), "unknown_class", message)
        relabel = {
            file: name
            for file, name in self.relabel.items()
            if name in known and name != given.get(file, name)
        }
        drop = self.drop & given.keys()
        left = Counter(relabel.get(f, name) for f, name in given.items() if f not in drop)
        for name in classes:
            if not left[name]:
                findings.problem(
                    printable(name),
                    "empty_class",
                    "the corrections would remove all training images of this class; keep one, or "
                    "remove the class from the data set",
                )
        return Corrections(relabel, drop)


def _report_unknown(
    unknown: Iterable[str],
    given: Mapping[str, str],
    held_out: Collection[str],
    findings: Findings,
) -> None:
    by_name: dict[str, list[str]] = {}
    for file in unknown:
        if file in held_out:
            findings.problem(
                printable(file),
                "held_out_file",
                "this file is in val/ or test/, and only training files can be corrected; change "
                "the data set instead",
            )
            continue
        if not by_name:
            for known in given:
                by_name.setdefault(known.rpartition("/")[2], []).append(known)
        alike = by_name.get(file.rpartition("/")[2], [])
        meant = "use the file names of the audit"
        if len(alike) == 1:
            meant = f"did you mean {printable(alike[0])!r}?"
        findings.problem(
            printable(file), "unknown_file", f"there is no training image of this name; {meant}"
        )


def _meant(name: str, classes: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, classes, n=1)
    if close:
        return f"did you mean {printable(close[0])!r}?"
    more = len(classes) - _CLASSES_SHOWN
    listed = ", ".join(map(printable, classes[:_CLASSES_SHOWN]))
    return f"the classes are {listed}" + (f" and {more:,} more" if more > 0 else "")


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
