"""Corrections and confirmations of labels, applied to a data set without reading its images."""

from __future__ import annotations

import dataclasses
import difflib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from dspt.data.class_words import words_of
from dspt.data.findings import Findings
from dspt.kit.text import listed, printable
from dspt.labels.new_classes import warnings_of_new, words_of_new

if TYPE_CHECKING:
    from dspt.data import Dataset

_CLASSES_SHOWN = 20
NEW = "new: "
"""In a table: the prefix of a class that the data set does not have yet."""
SHOWN_PER_KIND = 100
"""Corrections with problems that are listed, so that a table can be corrected in one pass."""


@dataclass(frozen=True)
class Corrections:
    """Training files to relabel, to drop, and to keep as they are, by a person's decision.

    Files have the names of the audit. They are only looked up among the files of a data set, never
    opened.
    """

    relabel: Mapping[str, str] = field(default_factory=dict)
    """File -> its correct class."""
    drop: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()
    """Files whose label is right. Relabelled files need not be in it."""
    new_classes: Mapping[str, str | None] = field(default_factory=dict)
    """Class that the data set does not have -> its words; None: those of its name."""

    @classmethod
    def of(
        cls,
        relabel: Mapping[str, str] | None = None,
        drop: Iterable[str] = (),
        keep: Iterable[str] = (),
        new_classes: Mapping[str, str | None] | None = None,
    ) -> Self:
        """Create corrections with names in Unicode form NFC, as in data sets."""
        return cls(
            {_nfc(file): _nfc(name) for file, name in (relabel or {}).items()},
            frozenset(map(_nfc, drop)),
            frozenset(map(_nfc, keep)),
            {_nfc(name): words for name, words in (new_classes or {}).items()},
        )

    @property
    def confirmed(self) -> frozenset[str]:
        """Files whose label a person has chosen or confirmed."""
        return self.keep | self.relabel.keys()

    @property
    def given_words(self) -> dict[str, str]:
        """New class -> its words, where they are not those of its name."""
        return {name: words for name, words in self.new_classes.items() if words is not None}

    def __bool__(self) -> bool:
        return bool(self.relabel or self.drop or self.keep)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in a fixed order; `from_dict` restores them.

        `keep` and `new_classes` are missing if they are empty, as in earlier versions.
        """
        later = {"keep": sorted(self.keep), "new_classes": dict(sorted(self.new_classes.items()))}
        return {
            "relabel": dict(sorted(self.relabel.items())),
            "drop": sorted(self.drop),
            **{name: value for name, value in later.items() if value},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            dict(data["relabel"]),
            frozenset(data["drop"]),
            frozenset(data.get("keep", ())),
            dict(data.get("new_classes", {})),
        )

    def on_top_of(self, earlier: Corrections) -> Corrections:
        """Combine with `earlier` corrections; for a file in both, these apply."""
        before = {f: name for f, name in earlier.relabel.items() if f not in self.drop}
        relabel = before | dict(self.relabel)
        used = set(relabel.values())
        new = {**earlier.new_classes, **self.new_classes}
        return Corrections(
            relabel,
            (earlier.drop - self.confirmed) | self.drop,
            (earlier.keep | self.keep) - self.drop - relabel.keys(),
            {name: words for name, words in new.items() if name in used},
        )

    def checked(
        self,
        classes: Sequence[str],
        given: Mapping[str, str],
        held_out: Collection[str] = (),
        *,
        words: Mapping[str, str] | None = None,
        confirmed: Collection[str] = (),
        may_change_nothing: bool = False,
    ) -> Corrections:
        """Return the corrections that change something, or confirm a label.

        A file that is relabelled to its own class is kept.
        given: class of each training file; held_out: files of val/ and test/; words: class ->
        words, where they are not those of its name; confirmed: files that were confirmed before.
        Raises DatasetError with all that is wrong: unknown files or classes, invalid or unused new
        classes, files of val/ or test/, files with two decisions, a class that would have no
        training image left, or nothing changed.
        """
        findings = Findings(SHOWN_PER_KIND)
        new = words_of_new(self.new_classes, classes, words or {}, findings)
        changed = self._known([*classes, *self.new_classes], given, held_out, findings)
        changed = dataclasses.replace(changed, keep=changed.keep.difference(confirmed))
        for name in new.keys() - set(self.relabel.values()):
            message = "no file is relabelled to this new class"
            findings.problem(printable(name), "unused_class", message)
        if not (findings.problems or changed or may_change_nothing):
            findings.problem(
                "",
                "nothing_changed",
                "the corrections change nothing; relabel at least one file to another class, drop "
                "one, or keep one that was not confirmed before",
            )
        findings.refuse_if_any()
        return changed

    def check_names(
        self,
        classes: Sequence[str],
        given: Mapping[str, str],
        *,
        words: Mapping[str, str] | None = None,
    ) -> None:
        """Raise DatasetError with all unknown files, unknown classes and invalid new classes.

        For decisions that are not complete yet; arguments as in `checked`.
        """
        findings = Findings(SHOWN_PER_KIND)
        words_of_new(self.new_classes, classes, words or {}, findings)
        self._report_unknown_files(given, (), findings)
        self._report_unknown_classes([*classes, *self.new_classes], findings)
        findings.refuse_if_any()

    def apply(self, dataset: Dataset, *, may_change_nothing: bool = False) -> Dataset:
        """Return `dataset` with corrected labels and without the dropped files.

        New classes follow the others. Both data sets share one source: closing either closes both.
        `may_change_nothing` is for accumulated corrections, where a later one may revert an earlier
        one. Raises DatasetError as `checked` does.
        """
        given = {i.path: dataset.classes[i.label] for i in dataset.items if i.split == "train"}
        held_out = {item.path for item in dataset.items if item.split != "train"}
        words = dict(zip(dataset.classes, dataset.class_words, strict=True))
        # Photos added since may have brought a class that was new when the labels were corrected.
        added = self.new_classes.keys() & set(dataset.classes) if may_change_nothing else set()
        words |= {
            name: text
            for name in added
            if (text := self.new_classes[name]) is not None and words[name] == words_of(name)
        }
        new_classes = {n: text for n, text in self.new_classes.items() if n not in added}
        changed = dataclasses.replace(self, new_classes=new_classes).checked(
            dataset.classes,
            given,
            held_out,
            words=words,
            confirmed=dataset.confirmed,
            may_change_nothing=may_change_nothing,
        )
        new = words_of_new(changed.new_classes, dataset.classes, words, Findings())
        classes = (*dataset.classes, *new)
        index = {name: label for label, name in enumerate(classes)}
        rows = [row for row, item in enumerate(dataset.items) if item.path not in changed.drop]
        left_out = [row for row, item in enumerate(dataset.items) if item.path in changed.drop]
        items = []
        for item in (dataset.items[row] for row in rows):
            to = changed.relabel.get(item.path)
            items.append(item if to is None else dataclasses.replace(item, label=index[to]))
        corrected = dataclasses.replace(
            dataset,
            classes=classes,
            class_words=(*(words[name] for name in dataset.classes), *new.values()),
            items=tuple(items),
            hashes=tuple(dataset.hashes[row] for row in rows),
            warnings=(*dataset.warnings, *warnings_of_new(new, changed.relabel, dataset)),
            uploaded=dataset.uploaded or dataset.items,
            dropped=(*dataset.dropped, *(dataset.items[row] for row in left_out)),
            dropped_hashes=(*dataset.dropped_hashes, *(dataset.hashes[row] for row in left_out)),
            confirmed=(dataset.confirmed - changed.drop) | changed.confirmed,
        )
        return dataclasses.replace(corrected, sha256=corrected.digest())

    def _known(
        self,
        classes: Sequence[str],
        given: Mapping[str, str],
        held_out: Collection[str],
        findings: Findings,
    ) -> Corrections:
        """The valid corrections that change something, or keep a file; problems go to `findings`.

        classes: with the new ones.
        """
        self._report_unknown_files(given, held_out, findings)
        for file in self.relabel:
            if file in self.drop:
                findings.problem(
                    printable(file), "relabelled_and_dropped", "relabel it or drop it, not both"
                )
        for file in sorted(self.keep):
            if file in self.drop or self.relabel.get(file, given.get(file)) != given.get(file):
                message = "keep it as it is, or relabel or drop it, not both"
                findings.problem(printable(file), "kept_and_changed", message)
        self._report_unknown_classes(classes, findings)
        known = set(classes)
        relabel = {
            file: name
            for file, name in self.relabel.items()
            if name in known and name != given.get(file, name)
        }
        right = {file for file, name in self.relabel.items() if name == given.get(file)}
        drop = self.drop & given.keys()
        left = Counter(relabel.get(f, name) for f, name in given.items() if f not in drop)
        for name in classes:
            if not left[name] and name not in self.new_classes:
                findings.problem(
                    printable(name),
                    "empty_class",
                    "the corrections would remove all training images of this class; keep one, or "
                    "remove the class from the data set",
                )
        keep = (self.keep & given.keys()) | right
        return Corrections(relabel, drop, keep, self.new_classes)

    def _report_unknown_files(
        self, given: Mapping[str, str], held_out: Collection[str], findings: Findings
    ) -> None:
        files = (*self.relabel, *sorted(self.drop), *sorted(self.keep))
        unknown = [file for file in files if file not in given]
        _report_files(dict.fromkeys(unknown), given, held_out, findings)

    def _report_unknown_classes(self, classes: Sequence[str], findings: Findings) -> None:
        known = set(classes)
        elsewhere = [(file, name) for file, name in self.relabel.items() if name not in known]
        for number, (file, name) in enumerate(elsewhere):
            # later messages are not shown, and finding a similar name takes time
            hint = _meant(name, classes) if number < SHOWN_PER_KIND else ""
            message = f"there is no class {printable(name)!r}; {hint}"
            findings.problem(printable(file), "unknown_class", message)


def _report_files(
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
    return (
        f"the classes are {listed(classes, _CLASSES_SHOWN, printable)}. To add a class, write "
        f"`{NEW}{printable(name)}` in a table, or list it in `new_classes` in JSON"
    )


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
