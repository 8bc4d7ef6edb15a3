"""What an earlier run of the same benchmark left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def records_by_key(path: Path) -> dict[str, Any]:
    """Records of an earlier run, by key; none if there is no file or it is not ours."""
    try:
        datasets = json.loads(path.read_text("utf-8"))["datasets"]
        return {record["key"]: record for records in datasets.values() for record in records}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
