"""The jobs that were sent, and what is known of them."""

from __future__ import annotations

import asyncio
import random

ENDED = frozenset({"succeeded", "failed", "cancelled"})
AT_WORK = frozenset({"validating", "running", "cancelling"})


class Book:
    """Job ids and states, as listeners hear of them."""

    def __init__(self) -> None:
        self._status: dict[str, str] = {}
        self._newest: dict[str, int] = {}
        self._news = asyncio.Event()

    def note(self, job_id: str, status: str, event: int = 0) -> None:
        """By the event of this number: who comes late hears of old ones first."""
        if event >= self._newest.get(job_id, 0):
            self._status[job_id], self._newest[job_id] = status, event
            self._news.set()

    def ended(self, job_id: str) -> bool:
        return self._status[job_id] in ENDED

    def with_status(self, statuses: frozenset[str]) -> list[str]:
        return [job_id for job_id, status in self._status.items() if status in statuses]

    async def next_for(self, rng: random.Random) -> str:
        """A job to follow: one at work, else the next in the queue, waiting for it if need be."""
        while True:
            self._news.clear()
            if at_work := self.with_status(AT_WORK):
                return rng.choice(at_work)
            if waiting := self.with_status(frozenset({"queued"})):
                return waiting[0]
            await self._news.wait()
