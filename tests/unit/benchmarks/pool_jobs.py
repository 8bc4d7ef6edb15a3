"""Jobs for the processes of a pool; it imports nothing that takes long to import there."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Number:
    """What a process does with it is said beforehand."""

    value: int
    deed: Literal["square", "raise", "die", "wait"] = "square"


class Squares:
    """Does what a number says."""

    def __call__(self, number: Number) -> dict[str, Any]:
        if number.deed == "die":  # as the system does when memory runs out
            os._exit(9)
        if number.deed == "raise":
            raise IndexError(number.value)
        while number.deed == "wait":
            time.sleep(0.01)
        return {"square": number.value**2, "process": os.getpid()}
