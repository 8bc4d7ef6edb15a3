"""Hostile files by family, each made from the seed, the name of its family and its number."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
Family = Callable[[random.Random, int], bytes]
"""Makes the n-th file of a family: `n` selects the variant, the generator the details."""


@dataclass(frozen=True)
class Case:
    """One hostile file."""

    family: str
    number: int
    data: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.family}-{self.number}"


def cases(families: Mapping[str, Family], seed: int, count: int) -> Iterator[Case]:
    """Yield `count` files, one of each family in turn, so that few files cover many families."""
    names = list(families)
    for i in range(count):
        family, number = names[i % len(names)], i // len(names)
        rng = random.Random(f"{seed}/{family}/{number}")
        yield Case(family, number, families[family](rng, number))


def of(variants: Sequence[T], n: int) -> T:
    """Return the n-th variant, starting over after the last one."""
    return variants[n % len(variants)]
