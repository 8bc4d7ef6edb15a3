"""Tables and paragraphs of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing where there are no rows."""
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *lines])


def code(text: object) -> str:
    """`text` as it is; nothing where it is empty."""
    return f"`{text}`" if f"{text}" else ""


def paragraphs(docstring: str | None) -> str:
    """A docstring's paragraphs, each on one line."""
    text = (docstring or "").strip()
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text))


def _cell(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    # What stands in angle brackets would be taken for HTML, but not in code.
    parts = line.split("`")
    return "`".join(p if n % 2 else p.replace("<", "&lt;") for n, p in enumerate(parts))
