"""What is noted down while the load runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

#: Kinds of requests, as they are called in the results.
KINDS = (
    "poll of a running job",
    "poll of an ended job",
    "submit",
    "prediction",
    "opening a stream of events",
)
POLL_RUNNING, POLL_ENDED, SUBMIT, PREDICTION, STREAM = KINDS


@dataclass(frozen=True, slots=True)
class Sample:
    """Something that took time."""

    at: float
    """Seconds since the measurement began, of the moment that it was due."""
    seconds: float


@dataclass
class Records:
    """All of it, from the moment `begin`, which is a time of the event loop."""

    begin: float
    latencies: dict[str, list[Sample]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    """From the moment at which a request was due to the end of its answer."""
    lateness: list[Sample] = field(default_factory=list)
    """Of the load itself: from the moment at which a request was due to its sending."""
    lags: list[Sample] = field(default_factory=list)
    """From the moment that an event says it happened at to its arrival."""
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    """By kind: HTTP status, or the name of the error where there was no answer."""
    events: int = 0
    lost: int = 0
    doubled: int = 0
    looks: int = 0
    """At the whole, some a second."""
    looks_busy: int = 0
    """Those at which some job was at work."""
    connected: list[int] = field(default_factory=list)
    """Listeners with an open stream, at each look."""

    def took(self, kind: str, due: float, done: float) -> None:
        """Note a latency of what was due at this time of the event loop."""
        if due >= self.begin:
            self.latencies[kind].append(Sample(due - self.begin, done - due))

    def count(self, kind: str, status: str, due: float) -> None:
        """Note how something went that was due at this time of the event loop."""
        if due >= self.begin:
            self.statuses.setdefault(kind, Counter())[status] += 1

    @property
    def errors(self) -> int:
        """Answers that are no success, and requests without an answer."""
        return sum(
            count
            for statuses in self.statuses.values()
            for status, count in statuses.items()
            if not status.startswith("2")
        )
