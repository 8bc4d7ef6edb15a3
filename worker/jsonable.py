"""Values as every database takes them for JSON."""

from __future__ import annotations

import math
from typing import Any

from app.kit.control_characters import cleaned


def jsonable(value: Any) -> Any:
    """A copy without NaN and infinities (null instead), NUL characters and lone surrogates.

    numpy's and torch's scalars become Python's. Raises TypeError for what JSON cannot hold.
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
    raise TypeError(f"not fit for JSON: {type(value).__name__}")
