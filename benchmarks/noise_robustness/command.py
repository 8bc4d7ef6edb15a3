"""The command as it is kept beside a result: to be run again, without folders of this machine."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

PROGRAM = "python -m benchmarks.noise_robustness"


def command_of(parser: argparse.ArgumentParser, found: argparse.Namespace) -> str:
    """The options that differ from their defaults; of paths the last part, which identifies."""
    words = [PROGRAM]
    for action in parser._actions:
        value = getattr(found, action.dest, None)
        skipped = action.dest in ("out", "features", "jobs", "fresh", "report_only")
        if skipped or value is None or value == action.default:
            continue
        values = value if isinstance(value, list) else [value]
        words += [action.option_strings[0], *(shlex.quote(_shown(v)) for v in values)]
    return " ".join(words)


def _shown(value: Any) -> str:
    if isinstance(value, Path):
        return value.resolve().name
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return without_folders(value) if isinstance(value, str) else str(value)


def without_folders(backbone: str) -> str:
    """A backbone's name, of a path in it only the last part."""
    for mark in ("local-dir:", "@"):
        head, found, path = backbone.partition(mark)
        if found:
            return f"{head}{found}{Path(path).name}"
    return backbone
