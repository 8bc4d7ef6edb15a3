"""Collect all problems of a data set, so that they are reported together."""

from __future__ import annotations

from collections import Counter

from dspt.errors import DatasetError, Problem

SHOWN_PER_KIND = 100
"""Problems or warnings of one kind that are listed; further ones are only counted."""


class Findings:
    """Problems, which reject the data set, and warnings, which do not; in order of discovery."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._warnings: list[str] = []
        self._problem_counts: Counter[str] = Counter()
        self._warning_counts: Counter[str] = Counter()

    def problem(self, where: str, code: str, message: str) -> None:
        """Add a problem. where: file, folder or table line; "" for the whole data set."""
        self._problem_counts[code] += 1
        if self._problem_counts[code] <= SHOWN_PER_KIND:
            self._problems.append(Problem(where, code, message))

    def warning(self, kind: str, message: str) -> None:
        """Add a warning. kind: warnings of the same kind are counted together."""
        self._warning_counts[kind] += 1
        if self._warning_counts[kind] <= SHOWN_PER_KIND:
            self._warnings.append(message)

    @property
    def problems(self) -> tuple[Problem, ...]:
        more = (
            Problem("", code, f"and {count - SHOWN_PER_KIND:,} more problems of this kind")
            for code, count in self._problem_counts.items()
            if count > SHOWN_PER_KIND
        )
        return (*self._problems, *more)

    @property
    def warnings(self) -> tuple[str, ...]:
        more = (
            f"and {count - SHOWN_PER_KIND:,} more warnings of the kind {kind!r}"
            for kind, count in self._warning_counts.items()
            if count > SHOWN_PER_KIND
        )
        return (*self._warnings, *more)

    def refuse_if_any(self) -> None:
        """Raise DatasetError with all problems found so far, if there are any."""
        if self._problems:
            raise DatasetError(self.problems)
