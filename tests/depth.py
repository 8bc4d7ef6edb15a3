"""How deep the suite goes: `make test` proves each behaviour once, `make test-deep` goes on."""

from __future__ import annotations

import os

#: Also what takes minutes, what other tests prove in another way, and what times an idle machine.
DEEP = os.environ.get("DSPT_TEST_DEEP") == "1"


def rounds(quick: int, deep: int) -> int:
    """How many draws a random search makes."""
    return deep if DEEP else quick
