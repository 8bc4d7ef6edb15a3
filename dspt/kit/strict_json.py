"""JSON parser for untrusted input; rejects duplicate keys."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dspt.kit.text import printable


def loads(text: str) -> Any:
    """Parse `text`.

    Raises ValueError for invalid JSON, deep nesting, and duplicate keys, because parsers differ in
    which of the values they use.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"duplicate key {printable(key)!r}")
        found[key] = value
    return found
