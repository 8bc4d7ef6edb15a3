"""The load: polls, predictions and submits in an open loop, and listeners to events."""

from __future__ import annotations

import asyncio
import io
import json
import random
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.load.listener import Listener
from benchmarks.load.records import (
    AT_WORK,
    ENDED,
    POLL_ENDED,
    POLL_RUNNING,
    PREDICTION,
    SUBMIT,
    Jobs,
    Records,
)
from benchmarks.sessions import UNANSWERED

_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Material:
    """The bodies of the requests."""

    zip: bytes
    image: bytes
    epochs: int

    def job(self, seed: int) -> aiohttp.FormData:
        """Return the form of POST /jobs; each seed makes a different job."""
        form = aiohttp.FormData({"config": json.dumps({"epochs": self.epochs, "seed": seed})})
        form.add_field("dataset", io.BytesIO(self.zip), filename="photos.zip")
        return form

    def prediction(self, model_id: str) -> aiohttp.FormData:
        form = aiohttp.FormData({"model": model_id})
        form.add_field("images", self.image, filename="1.jpg")
        return form


def arrivals(rate: float, begin: float, end: float, rng: random.Random) -> Iterator[float]:
    """Yield the moments of a Poisson process of `rate` per second from `begin` to `end`."""
    at = begin
    while rate > 0:
        at += rng.expovariate(rate)
        if at >= end:
            return
        yield at


async def due(moments: Iterator[float]) -> AsyncIterator[float]:
    """Yield each moment once it has come, and missed ones at once: an open loop."""
    loop = asyncio.get_running_loop()
    for moment in moments:
        wait = moment - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        yield moment


@asynccontextmanager
async def alongside(*endless: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines during the block; an error in one of them ends the block and is raised.

    Otherwise the results would lack what that coroutine records, without a sign of it.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in endless]
        yield
        for task in tasks:
            task.cancel()


@dataclass
class Traffic:
    """Send requests until `records.begin` + `seconds`; those due before `begin` do not count."""

    client: aiohttp.ClientSession
    streams: aiohttp.ClientSession
    """Of the listeners, each of which has a new connection for each stream."""
    jobs: Jobs
    records: Records
    options: Namespace
    """Of the command: rates, number and habits of the listeners, seed."""
    material: Material
    model_id: str
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)
    _submitted: int = 0

    async def run(self, seconds: float) -> None:
        """Return when all requests are answered. An error of a listener ends the run."""
        options, loop = self.options, asyncio.get_running_loop()
        now, end = loop.time(), self.records.begin + seconds
        rngs = [random.Random(f"{options.seed}/{number}") for number in range(options.listeners)]
        listeners = [
            Listener(self.streams, self.jobs, self.records, rng, options.stays, options.pause)
            for rng in rngs
        ]
        async with alongside(*(listener.run() for listener in listeners), self._watch(listeners)):
            async with asyncio.TaskGroup() as group:
                for name, rate, send in (
                    ("polls", options.polls, self._poll),
                    ("predictions", options.predictions, self._predict),
                    ("submits", options.submits / 60, self._submit),
                ):
                    rng = random.Random(f"{options.seed}/{name}")
                    moments = arrivals(rate, now, end, rng)
                    group.create_task(self._keep_to(moments, rng, send))
            await asyncio.gather(*self._under_way)
            await asyncio.sleep(end - loop.time())

    async def submit(self) -> str:
        """Submit a job and return its id. Raises ClientError, or ValueError if it is refused."""
        async with self.client.post("/jobs", data=self._next_job()) as answer:
            return self._taken(answer.status, await answer.read())

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
        jobs = self.jobs.with_status(statuses) or self.jobs.with_status(ENDED)
        await self._timed(kind, moment, self.client.get(f"/jobs/{rng.choice(jobs)}"))

    async def _predict(self, moment: float, _rng: random.Random) -> None:
        form = self.material.prediction(self.model_id)
        await self._timed(PREDICTION, moment, self.client.post("/predict", data=form))

    async def _submit(self, moment: float, _rng: random.Random) -> None:
        request = self.client.post("/jobs", data=self._next_job())
        status, body = await self._timed(SUBMIT, moment, request)
        if status == 202:
            self._taken(status, body)

    async def _timed(
        self,
        kind: str,
        moment: float,
        request: AbstractAsyncContextManager[aiohttp.ClientResponse],
    ) -> tuple[int, bytes]:
        """Return status and body; status 0 if there is no answer."""
        records, loop = self.records, asyncio.get_running_loop()
        sent = loop.time()
        try:
            async with request as answer:
                body = await answer.read()
        except UNANSWERED as error:
            records.count(kind, type(error).__name__, moment)
            return 0, b""
        records.took(kind, moment, loop.time())
        records.count(kind, str(answer.status), moment)
        if moment >= records.begin:
            records.lateness.append(sent - moment)
        return answer.status, body

    def _next_job(self) -> aiohttp.FormData:
        self._submitted += 1
        return self.material.job(self._submitted)

    def _taken(self, status: int, body: bytes) -> str:
        if status != 202:
            raise ValueError(f"POST /jobs: {status} {body[:300].decode()}")
        job_id: str = json.loads(body)["id"]
        self.jobs.note(job_id, "queued")
        return job_id

    async def _watch(self, listeners: list[Listener]) -> None:
        """Count connected listeners and whether a job is at work, four times a second."""
        records, loop = self.records, asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if loop.time() < records.begin:
                continue
            records.looks += 1
            records.looks_busy += bool(self.jobs.with_status(AT_WORK))
            records.connected.append(sum(listener.connected for listener in listeners))
