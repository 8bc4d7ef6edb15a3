"""All families of hostile images."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.hostile_input import images_bombs, images_damage, images_tags
from benchmarks.hostile_input.case import Case, Family, cases

FAMILIES: dict[str, Family] = {
    **images_bombs.FAMILIES,
    **images_damage.FAMILIES,
    **images_tags.FAMILIES,
}


def images(seed: int, count: int) -> Iterator[Case]:
    """Yield `count` images, some of which are valid."""
    return cases(FAMILIES, seed, count)
