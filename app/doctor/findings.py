"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    mend: str = ""
    """How to fix it, if there is something to fix."""
