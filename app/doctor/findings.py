"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    #: As it should be.
    OK = "ok"
    #: Not set up here, and nothing needs it.
    OFF = "off"
    #: It works, but not as somebody may expect.
    WARN = "warn"
    #: Something does not work before this is mended.
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    part: str
    """Of the report: installation, settings, parts or service."""
    check: str
    state: State
    found: str
    mend: str = ""
    """What to do, where there is something to be done."""
