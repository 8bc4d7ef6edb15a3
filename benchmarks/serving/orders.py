"""What clients are to do, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.usage import Usage


@dataclass(frozen=True)
class Switch:
    """An alias that is moved to and fro all the time."""

    alias: str
    labels: Mapping[str, str]
    """Id of each model that it moves between -> how all of its classes begin."""
    pause: float
    """Seconds from one move to the next."""


@dataclass(frozen=True)
class Order:
    """Clients that ask, wait for the answer, and ask again."""

    clients: int
    images: int
    """In each request."""
    models: Sequence[str]
    """Ids or aliases, of which each request draws one."""
    seconds: float = 0.0
    """For how long; 0: each model is asked for once, in turn."""
    warm_up: float = 0.0
    """Seconds before, which do not count."""
    switch: Switch | None = None
    tiny: bool = False
    """Images of a few pixels: what costs is all but the images."""
    watched: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Name -> ids of processes whose use is looked at."""


@dataclass
class Outcome:
    """Of the time that counts."""

    seconds: float = 0.0
    images_per_second: float = 0.0
    """Classified, from an answer to an answer."""
    latencies: list[float] = field(default_factory=list)
    """Seconds, of answers that were as they should be."""
    statuses: dict[str, int] = field(default_factory=dict)
    """HTTP status, or the name of the error where there was no answer -> requests."""
    told_when: int = 0
    """Refusals that said when to come back."""
    wrong: int = 0
    """Answers with fewer predictions than images, or without one for some image."""
    moves: int = 0
    failed_moves: int = 0
    mixed: int = 0
    """Answers whose labels are not those of the model that they name."""
    stale: int = 0
    """Answers by a model that the alias had left before the request was sent."""
    cpu_seconds: float = 0.0
    """Of the clients themselves."""
    before: dict[str, Usage] = field(default_factory=dict)
    after: dict[str, Usage] = field(default_factory=dict)
