"""Everybody who uses the service, all at once."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.http.connection import Answer, Client
from benchmarks.load.book import AT_WORK, ENDED, Book
from benchmarks.load.listener import Listener
from benchmarks.load.material import Material
from benchmarks.load.records import (
    POLL_ENDED,
    POLL_RUNNING,
    PREDICTION,
    SUBMIT,
    Records,
    Sample,
)
from benchmarks.load.schedule import arrivals, due

_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Rates:
    """How much of what."""

    polls: float
    """A second; half of them of jobs at work, half of ended ones."""
    predictions: float
    """A second."""
    submits: float
    """A minute."""
    listeners: int
    stays: float
    """Seconds after which a listener hangs up and comes back, on average."""
    pause: float
    """Most seconds that a listener takes to turn to the next job."""


class Traffic:
    """Sends from now to `records.begin` + `seconds`; what was due before `begin` is not noted."""

    def __init__(
        self,
        client: Client,
        book: Book,
        records: Records,
        rates: Rates,
        material: Material,
        model_id: str,
        seed: int,
    ) -> None:
        self._client, self._book, self._records = client, book, records
        self._rates, self._material, self._model_id, self._seed = rates, material, model_id, seed
        self._under_way: set[asyncio.Task[None]] = set()
        self._submitted = 0

    async def run(self, seconds: float) -> None:
        """Returns when all that was due has its answer; the listeners are sent away then."""
        rates, loop = self._rates, asyncio.get_running_loop()
        now, end = loop.time(), self._records.begin + seconds
        listeners = [
            Listener(
                self._client,
                self._book,
                self._records,
                random.Random(f"{self._seed}/{number}"),
                stays=rates.stays,
                pause=rates.pause,
            )
            for number in range(rates.listeners)
        ]
        tasks = [asyncio.create_task(listener.run()) for listener in listeners]
        tasks.append(asyncio.create_task(self._watch(listeners)))
        try:
            async with asyncio.TaskGroup() as group:
                for name, rate, send in (
                    ("polls", rates.polls, self._poll),
                    ("predictions", rates.predictions, self._predict),
                    ("submits", rates.submits / 60, self._submit),
                ):
                    rng = random.Random(f"{self._seed}/{name}")
                    moments = arrivals(rate, now, end, rng)
                    group.create_task(self._keep_to(moments, rng, send))
            await asyncio.gather(*self._under_way)
            await asyncio.sleep(end - loop.time())
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if not isinstance(result, asyncio.CancelledError):
                raise RuntimeError("a listener stopped") from result

    async def submit(self) -> str:
        """Send a job; its id. Raises OSError, ValueError where it is not taken."""
        answer = await self._client.send(self._job_request())
        return self._taken(answer)

    async def _keep_to(
        self,
        moments: Iterator[float],
        rng: random.Random,
        send: Callable[[float, random.Random], Coroutine[Any, Any, None]],
    ) -> None:
        async for moment in due(moments):
            task = asyncio.create_task(send(moment, rng))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _poll(self, moment: float, rng: random.Random) -> None:
        kind, statuses = rng.choice([(POLL_RUNNING, AT_WORK), (POLL_ENDED, ENDED)])
        jobs = self._book.with_status(statuses) or self._book.with_status(ENDED)
        request = self._client.request("GET", f"/jobs/{rng.choice(jobs)}")
        await self._timed(kind, moment, self._client.send(request))

    async def _predict(self, moment: float, _rng: random.Random) -> None:
        request = self._material.prediction(self._client, self._model_id)
        await self._timed(PREDICTION, moment, self._client.send(request))

    async def _submit(self, moment: float, _rng: random.Random) -> None:
        answer = await self._timed(SUBMIT, moment, self._client.send(self._job_request()))
        if answer is not None and answer.status == 202:
            self._taken(answer)

    async def _timed(self, kind: str, moment: float, answer: Awaitable[Answer]) -> Answer | None:
        records, loop = self._records, asyncio.get_running_loop()
        sent = loop.time()
        try:
            found = await answer
        except OSError as error:
            records.count(kind, type(error).__name__, moment)
            return None
        records.took(kind, moment, loop.time())
        records.count(kind, str(found.status), moment)
        if moment >= records.begin:
            records.lateness.append(Sample(moment - records.begin, sent - moment))
        return found

    def _job_request(self) -> bytes:
        """Each job has a seed of its own, so that none is like another."""
        self._submitted += 1
        return self._material.job(self._client, seed=self._submitted)

    def _taken(self, answer: Answer) -> str:
        if answer.status != 202:
            raise ValueError(f"POST /jobs: {answer.status} {answer.body[:300].decode()}")
        job_id: str = json.loads(answer.body)["id"]
        self._book.note(job_id, "queued")
        return job_id

    async def _watch(self, listeners: list[Listener]) -> None:
        """Look at what only counts while it is so."""
        records, loop = self._records, asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if loop.time() < records.begin:
                continue
            records.looks += 1
            records.looks_busy += bool(self._book.with_status(AT_WORK))
            records.connected.append(sum(listener.connected for listener in listeners))
