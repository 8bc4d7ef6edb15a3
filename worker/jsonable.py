"""Convert values to JSON that every database accepts."""

from __future__ import annotations

import math
from typing import Any

from app.kit.control_characters import cleaned


def jsonable(value: Any) -> Any:
    """Return a copy without control characters and lone surrogates, with null for NaN and infinity.

    Scalars of numpy and torch become Python's. Raises TypeError for other types.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, dict):
        return {cleaned(str(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    raise TypeError(f"not JSON serializable: {type(value).__name__}")
