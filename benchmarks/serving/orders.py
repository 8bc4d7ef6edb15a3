"""Orders to the clients, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.usage import Usage


@dataclass(frozen=True)
class Order:
    """Clients that send the next request after each answer."""

    clients: int
    images: int
    """Per request."""
    models: Sequence[str]
    """Ids or aliases; each request draws one."""
    seconds: float = 0.0
    """Duration; 0: each model is requested once, in turn."""
    warm_up: float = 0.0
    """Least seconds of requests before the measurement, which begins once all were answered."""
    tiny: bool = False
    """Use images of a few pixels, which cost almost nothing."""
    watched: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Name -> ids of processes whose usage is recorded."""


@dataclass
class Outcome:
    """The result of an order, without its warm-up."""

    seconds: float = 0.0
    images_per_second: float = 0.0
    """Classified images, measured from answer to answer."""
    latencies: list[float] = field(default_factory=list)
    """Seconds, of correct answers."""
    statuses: dict[str, int] = field(default_factory=dict)
    """HTTP status, or name of the exception if there was no answer -> number of requests."""
    told_when: int = 0
    """Refusals with Retry-After."""
    wrong: int = 0
    """Answers that lack a prediction for an image."""
    cpu_seconds: float = 0.0
    """Of the clients themselves."""
    before: dict[str, Usage] = field(default_factory=dict)
    after: dict[str, Usage] = field(default_factory=dict)
