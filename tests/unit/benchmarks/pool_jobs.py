"""Jobs for the processes of a pool; it imports nothing that takes long to import there."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Number:
    """A number, and what a process does with it."""

    value: int
    action: Literal["square", "raise", "die", "die once", "wait"] = "square"
    died: Path = Path()
    """File that the process makes before it dies once."""


class Squares:
    """Does what a number says."""

    def __call__(self, number: Number) -> dict[str, Any]:
        if number.action == "die":  # as the system does when memory runs out
            os._exit(9)
        if number.action == "die once" and not number.died.exists():
            number.died.touch()
            os._exit(9)
        if number.action == "raise":
            raise IndexError(number.value)
        while number.action == "wait":
            time.sleep(0.01)
        return {"square": number.value**2, "process": os.getpid()}
