"""Hostile files by family: each can be made again from the seed, its family and its number."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Family = Callable[[random.Random, int], bytes]
"""Makes the n-th file of a family; `n` goes through its variants, the generator through details."""


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
    """`count` files, one of each family by turns, so that few of them are of many families."""
    names = list(families)
    for i in range(count):
        family, number = names[i % len(names)], i // len(names)
        rng = random.Random(f"{seed}/{family}/{number}")
        yield Case(family, number, families[family](rng, number))
