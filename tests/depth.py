"""How deep the suite goes: `make test` proves each behaviour once, `make test-deep` goes on."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

#: Also what takes minutes, what other tests prove in another way, and what times an idle machine.
DEEP = os.environ.get("DSPT_TEST_DEEP") == "1"


def rounds(quick: T, deep: T) -> T:
    """How many draws a random search makes, or what else there is more of in the deep suite."""
    return deep if DEEP else quick
