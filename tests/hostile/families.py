"""All families of hostile archives and images."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile import (
    archives_contents,
    archives_names,
    archives_structure,
    images_bombs,
    images_damage,
    images_tags,
)
from tests.hostile.case import Case, cases

ARCHIVES = archives_names.FAMILIES | archives_structure.FAMILIES | archives_contents.FAMILIES
IMAGES = images_bombs.FAMILIES | images_damage.FAMILIES | images_tags.FAMILIES


def archives(seed: int, count: int) -> Iterator[Case]:
    """Yield `count` archives, a few of which are valid."""
    return cases(ARCHIVES, seed, count)


def images(seed: int, count: int) -> Iterator[Case]:
    """Yield `count` images, some of which are valid."""
    return cases(IMAGES, seed, count)
