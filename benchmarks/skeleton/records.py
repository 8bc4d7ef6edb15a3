"""Finished parts of a run on disk, so that the same command resumes a stopped run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dspt.kit.files import atomic_write

Record = dict[str, Any]


class Records:
    """A folder with one JSON file per record; a file is complete or absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, key: str | None = None) -> Record | None:
        """Return the record `name`, or None if it is missing, unreadable or has another key.

        key: see `key_of`; None accepts every key.
        """
        try:
            found = json.loads(self._path(name).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or (key is not None and found.get("key") != key):
            return None
        return found

    def put(self, name: str, key: str, record: Mapping[str, Any]) -> Record:
        """Store and return `record` with its key. `name` must be a valid file name."""
        found = {"key": key, **record}
        atomic_write(self._path(name), (json.dumps(found) + "\n").encode())
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def key_of(parts: Mapping[str, Any]) -> str:
    """Return SHA-256 (hex) over everything that decides a record; `parts` must fit into JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def dumps(document: Mapping[str, Any]) -> str:
    """Return JSON with one line for each element of a top-level list of objects."""
    parts = []
    for name, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            text = f"[\n  {rows}\n ]"
        else:
            text = json.dumps(value, indent=1).replace("\n", "\n ")
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
