"""Finished parts of a run on disk, so that the same command resumes a stopped run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.skeleton.machine import code_digest
from dspt.kit.files import atomic_write

if TYPE_CHECKING:  # imports torch
    from dspt.backbones import Backbone

Record = dict[str, Any]


class Records:
    """A folder with one JSON file per record; a file is complete or absent."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """`identity`: decides all records; must fit into JSON."""
        self._folder, self._identity = folder, dict(identity)

    def key(self, **parts: Any) -> str:
        """Return a digest over everything that decides a record: the identity and these parts."""
        whole = json.dumps({**self._identity, **parts}, sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()

    def get(self, name: str, key: str) -> Record | None:
        """Return the record `name`, or None if it is missing, unreadable or has another key."""
        try:
            found = json.loads(self._path(name).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("key") == key else None

    def put(self, name: str, key: str, record: Mapping[str, Any]) -> Record:
        """Store and return `record` with its key. `name` must be a valid file name."""
        found = {"key": key, **record}
        atomic_write(self._path(name), (json.dumps(found) + "\n").encode())
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def identify(document: dict[str, Any], backbone: Backbone, *names: str) -> dict[str, Any]:
    """Add to `document`, and return, what decides all its records besides the settings.

    names: benchmarks whose code decides them.
    """
    document |= {
        "backbone_digest": backbone.digest,
        "device": backbone.device.type,
        "code": code_digest("skeleton", *names),
    }
    return {name: document[name] for name in ("backbone_digest", "device", "code", "versions")}


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
