"""The metrics that `GET /metrics` answers with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from app.metrics.siblings import Siblings, joined


class Report:
    """Metrics of this process, and of those that share its port. For one event loop."""

    def __init__(self, registry: CollectorRegistry, socket: Path | None, processes: int) -> None:
        """`socket`: path for the one of this process, beside those of the others.

        processes: how many share the port.
        """
        self._registry = registry
        # Its own thread: metrics matter most when all others are busy.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._siblings = None if socket is None else Siblings(socket, processes, self._own)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        with self._thread:
            async with self._siblings.answering() if self._siblings else nullcontext():
                yield

    async def text(self) -> bytes:
        """Return what `GET /metrics` answers. Raises ServiceUnavailable."""
        if self._siblings is None:
            return await self._own()
        texts = await asyncio.gather(self._own(), self._siblings.texts())
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, joined, [texts[0], *texts[1]])

    async def _own(self) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, generate_latest, self._registry)
