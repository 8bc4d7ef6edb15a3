"""A client that follows jobs, reads each event and counts events that are lost or sent twice."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from dataclasses import dataclass
from datetime import datetime

import aiohttp

from benchmarks.load.records import STREAM, Jobs, Records

_EVENT = re.compile(rb'id: (\d+)\r\nevent: (\w+)\r\ndata: (\{.*?"created_at":"([^"]+)".*\})')
_END = b"\r\n\r\n"
_TIMEOUT_SECONDS = 30.0
_ENDLESS = aiohttp.ClientTimeout(None)


@dataclass
class Listener:
    """Follow one job after the other until cancelled.

    Disconnects after `stays` seconds on average and reconnects with Last-Event-ID, like a laptop
    that is closed and opened. Waits up to `pause` seconds before it turns to the next job.
    """

    client: aiohttp.ClientSession
    jobs: Jobs
    records: Records
    rng: random.Random
    stays: float
    pause: float
    connected: bool = False
    _job_id: str = ""
    _after: int = 0
    _rest: bytes = b""
    _sent_by_clock: float = 0.0

    async def run(self) -> None:
        while True:
            self._job_id, self._after = await self.jobs.next_for(self.rng), 0
            while not self.jobs.ended(self._job_id):
                await self._listen()
            await asyncio.sleep(self.rng.uniform(0, self.pause))

    async def _listen(self) -> None:
        """Read one stream until it ends or this listener disconnects."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self._after)}
        loop, path = asyncio.get_running_loop(), f"/jobs/{self._job_id}/events"
        self._rest, self._sent_by_clock, sent = b"", time.time(), loop.time()
        try:
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS) as timeout,
                self.client.get(path, headers=headers, timeout=_ENDLESS) as answer,
            ):
                outcome = str(answer.status)
                if answer.status == 200:
                    self.connected, now = True, loop.time()
                    self.records.took(STREAM, sent, now)
                    timeout.reschedule(now + self.rng.expovariate(1 / self.stays))
                    async for data in answer.content.iter_any():
                        self._receive(data)
                    if not self.jobs.ended(self._job_id):
                        outcome = "ended before the job"
        except TimeoutError:
            outcome = "200" if self.connected else "TimeoutError"
        except aiohttp.ClientError as error:
            outcome = type(error).__name__
        finally:
            self.connected = False
        self.records.count(STREAM, outcome, sent)
        if outcome != "200":
            await asyncio.sleep(1)

    def _receive(self, data: bytes) -> None:
        now = time.time()
        *blocks, self._rest = (self._rest + data).split(_END)
        for block in blocks:
            if found := _EVENT.match(block):
                number, kind, event, moment = found.groups()
                happened = datetime.fromisoformat(moment.decode()).timestamp()
                self._take(int(number), happened, now)
                if kind == b"status":
                    status = json.loads(event)["data"]["status"]
                    self.jobs.note(self._job_id, status, int(number))

    def _take(self, number: int, happened: float, now: float) -> None:
        records = self.records
        if number <= self._after:
            records.doubled += 1
        else:
            records.lost += number - self._after - 1
            self._after = number
        if asyncio.get_running_loop().time() >= records.begin:
            records.events += 1
            if happened >= self._sent_by_clock:  # older events are replayed at once
                records.lags.append(now - happened)
