"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

PARTS = "parts"
"""Section of data directory, database, broker, storage and workers."""


class State(StrEnum):
    #: Correct.
    OK = "ok"
    #: Not set up here, and not needed.
    OFF = "off"
    #: Works, but may surprise.
    WARN = "warn"
    #: Must be fixed; something does not work.
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    part: str
    """Section of the report: installation, settings, parts or service."""
    check: str
    state: State
    found: str
    fix: str = ""
    """How to fix it, or what happens next; empty if there is nothing to do."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values. The key of `fix` is `mend`, which scripts read."""
        return {
            "part": self.part,
            "check": self.check,
            "state": self.state,
            "found": self.found,
            "mend": self.fix,
        }
