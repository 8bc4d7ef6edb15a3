"""Clients in a closed loop; they cost little, because they share the CPUs with the service.

httpx takes 1 to 7 ms of CPU time per request where aiohttp takes 0.2 to 0.3.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import uvloop

from benchmarks.serving.api import PREDICT, Api
from benchmarks.sessions import UNANSWERED, session
from benchmarks.usage import Usage, usage_of

#: Longer than any queue of images takes.
_TIMEOUT_SECONDS = 240.0
#: After a refusal without Retry-After.
_BUSY, _PAUSE_SECONDS = 503, 0.1


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


class Clients:
    """Sends the requests of an order to the service. Lives in a process of its own."""

    def __init__(
        self,
        place: tuple[str, int],
        key: str,
        photos: Sequence[bytes],
        tiny: bytes,
        seed: int,
        api: Api = PREDICT,
    ) -> None:
        self._place, self._headers = place, {"Authorization": f"Bearer {key}"}
        self._api = api
        self._photos, self._tiny = [api.image(photo) for photo in photos], [api.image(tiny)]
        self._rng = random.Random(seed)
        # Keeps the garbage collector from scanning the photos during the measurement.
        gc.freeze()

    def carry_out(self, order: Order) -> Outcome:
        return uvloop.run(self._run(order))

    async def _run(self, order: Order) -> Outcome:
        files = self._tiny if order.tiny else self._photos
        async with session(*self._place, self._headers, _TIMEOUT_SECONDS) as client:
            return await Run(client, order, files, self._rng, self._api).all()


class Run:
    """Carries out one order."""

    def __init__(
        self,
        client: aiohttp.ClientSession,
        order: Order,
        files: Sequence[bytes],
        rng: random.Random,
        api: Api = PREDICT,
    ) -> None:
        """`files`: images, encoded by `api`."""
        self._client, self._order, self._files = client, order, files
        self._rng, self._api = rng, api
        self._statuses: Counter[str] = Counter()
        self._outcome = Outcome()
        self._answers: list[tuple[float, float]] = []
        """When each good answer was requested and complete, warm-up included."""
        # Without a duration the measurement has no warm-up, and ends with the last answer.
        self._begin = float("inf") if order.seconds else time.perf_counter()
        self._end = float("inf")
        self._not_answered = order.clients
        self._warm = asyncio.Event()

    async def all(self) -> Outcome:
        order, names = self._order, self._names()
        tasks = [asyncio.create_task(self._ask(names)) for _ in range(order.clients)]
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not order.seconds:  # every model was requested once
            self._end = time.perf_counter()
        await watching
        return self._summed()

    def _names(self) -> Iterator[str]:
        if not self._order.seconds:
            yield from self._order.models
            return
        while True:
            yield self._rng.choice(self._order.models)

    async def _ask(self, names: Iterator[str]) -> None:
        first = True
        while time.perf_counter() < self._end:
            name = next(names, None)
            if name is None:
                return
            photos = self._rng.choices(self._files, k=self._order.images)
            form, headers = self._api.body(name, photos), self._api.headers
            sent = time.perf_counter()
            try:
                async with self._client.post(self._api.path, data=form, headers=headers) as answer:
                    body = await answer.read()
            except UNANSWERED as error:
                self._count(type(error).__name__, time.perf_counter())
                continue
            finally:
                self._not_answered -= first
                first = False
                if not self._not_answered:
                    self._warm.set()
            pause = answer.headers.get("Retry-After")
            self._note(sent, time.perf_counter(), answer.status, body, told_when=pause is not None)
            if answer.status == _BUSY:
                await asyncio.sleep(float(pause or _PAUSE_SECONDS))

    def _note(self, sent: float, done: float, status: int, body: bytes, *, told_when: bool) -> None:
        counts = self._count(str(status), done)
        if status != 200:
            self._outcome.told_when += counts and told_when
            return
        if self._api.found(body) != self._order.images:
            self._outcome.wrong += counts
            return
        self._answers.append((sent, done))

    def _count(self, status: str, done: float) -> bool:
        """Count the request; return whether it is within the measurement."""
        counts = self._begin <= done <= self._end
        self._statuses[status] += counts
        return counts

    async def _watch(self) -> None:
        """Record what the processes use at the start and end of the measurement."""
        found, order = self._outcome, self._order
        if order.seconds:
            await asyncio.sleep(order.warm_up)
            await self._warm.wait()  # else a large first batch would count, begun before
            self._begin = time.perf_counter()
            self._end = self._begin + order.seconds
        found.before = self._look()
        start, cpu = time.perf_counter(), time.process_time()  # sampling costs, too
        while time.perf_counter() < self._end:
            await asyncio.sleep(min(0.1, max(0.0, self._end - time.perf_counter())))
        found.seconds = time.perf_counter() - start
        found.cpu_seconds = time.process_time() - cpu
        found.after = self._look()

    def _look(self) -> dict[str, Usage]:
        return {name: usage_of(roots) for name, roots in self._order.watched.items()}

    def _summed(self) -> Outcome:
        found, images = self._outcome, self._order.images
        found.statuses = dict(+self._statuses)
        counted = [(s, done) for s, done in self._answers if self._begin <= done <= self._end]
        found.latencies = [done - sent for sent, done in counted]
        # Answers come in bursts, one per batch, so the rate is measured from burst to burst.
        before = [done for _, done in self._answers if done < self._begin]
        start = max(before, default=self._begin)
        last = max((done for _, done in counted), default=start)
        if last > start:
            found.images_per_second = images * len(counted) / (last - start)
        return found
