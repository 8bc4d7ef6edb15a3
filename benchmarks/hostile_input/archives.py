"""All families of hostile archives."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.hostile_input import archives_contents, archives_names, archives_structure
from benchmarks.hostile_input.case import Case, Family, cases

FAMILIES: dict[str, Family] = {
    **archives_names.FAMILIES,
    **archives_structure.FAMILIES,
    **archives_contents.FAMILIES,
}


def archives(seed: int, count: int) -> Iterator[Case]:
    """Yield `count` archives, a few of which are valid."""
    return cases(FAMILIES, seed, count)
