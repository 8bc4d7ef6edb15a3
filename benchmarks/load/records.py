"""What a load run records: the state of each job, latencies, answers and events."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from dspt_client.schemas.status import TERMINAL

ENDED: frozenset[str] = TERMINAL
AT_WORK = frozenset({"validating", "running", "cancelling"})

#: Kinds of requests, as they are called in the results.
KINDS = (
    "poll of a running job",
    "poll of an ended job",
    "submit",
    "prediction",
    "opening a stream of events",
)
POLL_RUNNING, POLL_ENDED, SUBMIT, PREDICTION, STREAM = KINDS


class Jobs:
    """Ids and states of the submitted jobs, as the listeners receive them."""

    def __init__(self) -> None:
        self._status: dict[str, str] = {}
        self._newest: dict[str, int] = {}
        self._changed = asyncio.Event()

    def note(self, job_id: str, status: str, event: int = 0) -> None:
        """Set a state by event number; ignored if a newer event has been noted."""
        if event >= self._newest.get(job_id, 0):
            self._status[job_id], self._newest[job_id] = status, event
            self._changed.set()

    def ended(self, job_id: str) -> bool:
        return self._status[job_id] in ENDED

    def with_status(self, statuses: frozenset[str]) -> list[str]:
        return [job_id for job_id, status in self._status.items() if status in statuses]

    async def next_for(self, rng: random.Random) -> str:
        """Return a job to follow: one at work, else the next in the queue; wait for one."""
        while True:
            self._changed.clear()
            if at_work := self.with_status(AT_WORK):
                return rng.choice(at_work)
            if waiting := self.with_status(frozenset({"queued"})):
                return waiting[0]
            await self._changed.wait()


@dataclass
class Records:
    """Everything that is recorded from `begin`, a time of the event loop, on."""

    begin: float
    latencies: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    """By kind, seconds from the moment that a request was due until the end of its answer."""
    lateness: list[float] = field(default_factory=list)
    """Of the load generator: from the moment that a request was due until it was sent."""
    lags: list[float] = field(default_factory=list)
    """From the timestamp of an event until its arrival."""
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    """By kind: HTTP status, or the name of the exception if there was no answer."""
    events: int = 0
    lost: int = 0
    doubled: int = 0
    looks: int = 0
    """How often the state of the run was sampled, four times a second."""
    looks_busy: int = 0
    """How many of these samples found a job at work."""
    connected: list[int] = field(default_factory=list)
    """Number of listeners with an open stream, at each of these samples."""

    def took(self, kind: str, due: float, done: float) -> None:
        """Record the latency of a request; both times are of the event loop."""
        if due >= self.begin:
            self.latencies[kind].append(done - due)

    def count(self, kind: str, status: str, due: float) -> None:
        """Record the status of a request that was due at this time of the event loop."""
        if due >= self.begin:
            self.statuses.setdefault(kind, Counter())[status] += 1

    @property
    def errors(self) -> int:
        """Number of answers other than 2xx, and of requests without an answer."""
        return sum(
            count
            for statuses in self.statuses.values()
            for status, count in statuses.items()
            if not status.startswith("2")
        )
