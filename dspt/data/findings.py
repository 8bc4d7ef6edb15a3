"""Collect all problems of a data set, so that they are reported together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dspt.errors import DatasetError, Problem
from dspt.kit.text import printable

EXAMPLES = 3
"""Problems or warnings of one kind that are listed; further ones are only counted."""
_PLACES_SHOWN = 20
_PLACES_CHARACTERS = 500
FILES_LISTED = 100
"""Files of one kind that are listed by name; further ones are only counted."""


@dataclass(frozen=True)
class Notice:
    """All warnings of one kind."""

    kind: str
    text: str
    """The warnings, as in `Findings.warnings`."""
    count: int
    """Number of files, or of warnings if they concern no files."""
    files: tuple[str, ...] = ()
    """At most FILES_LISTED files."""


class Findings:
    """Problems, which reject the data set, and warnings, which do not; in order of discovery."""

    def __init__(self, examples: int = EXAMPLES) -> None:
        """examples: the number of problems or warnings of one kind to list."""
        self._examples = examples
        self._problems: list[Problem] = []
        self._warnings: list[tuple[str, str]] = []
        self._more_places: dict[str, list[str]] = defaultdict(list)
        self._problem_counts: dict[str, int] = defaultdict(int)
        self._warning_counts: dict[str, int] = defaultdict(int)
        self._files: dict[str, list[str]] = defaultdict(list)
        self._file_counts: dict[str, int] = defaultdict(int)

    def problem(self, where: str, code: str, message: str) -> None:
        """Add a problem. where: file, folder or table line; "" for the whole data set."""
        self._problem_counts[code] += 1
        if self._problem_counts[code] <= self._examples:
            self._problems.append(Problem(where, code, message))
        elif where and len(self._more_places[code]) < _PLACES_SHOWN:
            self._more_places[code].append(printable(where))

    def warning(self, kind: str, message: str, files: Sequence[str] = ()) -> None:
        """Add a warning about `files`. kind: warnings of the same kind are counted together."""
        self._warning_counts[kind] += 1
        if self._warning_counts[kind] <= self._examples:
            self._warnings.append((kind, message))
        self._file_counts[kind] += len(files)
        self._files[kind] += files[: max(0, FILES_LISTED - len(self._files[kind]))]

    @property
    def problems(self) -> tuple[Problem, ...]:
        more = (
            Problem("", code, self._more(code, count - self._examples))
            for code, count in self._problem_counts.items()
            if count > self._examples
        )
        return (*self._problems, *more)

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*(message for _, message in self._warnings), *self._more_warnings().values())

    @property
    def notices(self) -> tuple[Notice, ...]:
        """The warnings by kind."""
        texts: dict[str, list[str]] = {}
        for kind, text in (*self._warnings, *self._more_warnings().items()):
            texts.setdefault(kind, []).append(text)
        return tuple(
            Notice(
                kind,
                "; ".join(found),
                self._file_counts[kind] or self._warning_counts[kind],
                tuple(self._files[kind]),
            )
            for kind, found in texts.items()
        )

    def _more_warnings(self) -> dict[str, str]:
        return {
            kind: f"and {count - self._examples:,} more warnings of the kind {kind!r}"
            for kind, count in self._warning_counts.items()
            if count > self._examples
        }

    def refuse_if_any(self) -> None:
        """Raise DatasetError with all problems found so far, if there are any."""
        if self._problems:
            raise DatasetError(self.problems)

    def _more(self, code: str, count: int) -> str:
        shown = ", ".join(self._more_places[code])
        listed = f": {shown}" if shown and len(shown) <= _PLACES_CHARACTERS else ""
        rest = ", ..." if listed and count > _PLACES_SHOWN else ""
        kind = "problem" if count == 1 else "problems"
        return f"and {count:,} more {kind} of this kind{listed}{rest}"
