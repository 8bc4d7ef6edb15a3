"""JSON from strangers, in which everything is said once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dspt.kit.text import printable


def loads(text: str) -> Any:
    """What `text` says.

    Raises ValueError for what is no JSON, is nested too deeply, or says something twice: of two
    values for one key, one reader takes the first and another the last.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{printable(key)!r} stands in it twice")
        found[key] = value
    return found
