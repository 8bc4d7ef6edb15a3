"""Metrics of API processes that share a port: whichever answers a scrape, it answers for all.

Each process listens on a Unix socket of its own, all in one folder, and writes its metrics to
every connection. The files of prometheus_client's mode for several processes would contain neither
gauges that are read at each scrape nor the metrics of the database and of the processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from app.kit.http.errors import ServiceUnavailable

#: Longer than the leader waits for the database, shorter than Prometheus waits for an answer.
_PATIENCE_SECONDS = 5.0
#: Ends what a process writes; without it, something is missing.
_END = b"# EOF\n"
#: Samples that are no amounts but times, of which the first or the last of all processes counts.
_FIRST, _LAST = ("_created", "process_start_time_seconds"), ("_timestamp_seconds",)


class Siblings:
    """The processes that share a port with this one. For one event loop."""

    def __init__(self, own: Path, processes: int, text: Callable[[], Awaitable[bytes]]) -> None:
        """own: path of the socket of this process. processes: how many share the port.

        text: returns the metrics of this process.
        """
        self._own = own
        self._processes = processes
        self._text = text

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer the other processes during the block."""
        server = await asyncio.start_unix_server(self._answer, self._own)
        try:
            yield
        finally:
            self._own.unlink()
            server.close()

    async def texts(self) -> list[bytes]:
        """Return the metrics of the other processes.

        Raises ServiceUnavailable unless all answer: smaller sums would look like a restart.
        """
        others = [path for path in self._own.parent.glob("*.sock") if path != self._own]
        try:
            if len(others) != self._processes - 1:
                raise FileNotFoundError(f"{len(others)} sockets of other processes")
            return await _read_all(others)
        except OSError as error:  # TimeoutError is one
            raise ServiceUnavailable(
                "Not all API processes on this port report their metrics (DSPT_API_WORKERS). "
                "Retry after 5 s.",
                code="metrics_incomplete",
                headers={"Retry-After": "5"},
            ) from error

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await self._text() + _END)
            await writer.drain()
        finally:
            writer.close()


def joined(texts: Sequence[bytes]) -> bytes:
    """Return the metrics of several processes as those of one; amounts are added."""
    return generate_latest(_Joined(texts))


class _Joined(Collector):
    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        found: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], Sample]] = {}
        for text in self._texts:
            for family in text_string_to_metric_families(text.decode()):
                families.setdefault(family.name, family)
                samples = found.setdefault(family.name, {})
                for sample in family.samples:
                    key = sample.name, frozenset(sample.labels.items())
                    samples[key] = _added(samples.get(key), sample)
        for name, family in families.items():
            family.samples = list(found[name].values())
            yield family


def _added(known: Sample | None, new: Sample) -> Sample:
    if known is None:
        return new
    if new.name.endswith(_FIRST):
        return min(known, new, key=lambda sample: sample.value)
    if new.name.endswith(_LAST):
        return max(known, new, key=lambda sample: sample.value)
    return new._replace(value=known.value + new.value)


async def _read_all(paths: Iterable[Path]) -> list[bytes]:
    """Read from all sockets at once. Raises the first error, such as an OSError."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), asyncio.TaskGroup() as group:
            reading = [group.create_task(_read(path)) for path in paths]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [each.result() for each in reading]


async def _read(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        text = await reader.read()
    finally:
        writer.close()
    if not text.endswith(_END):
        raise ConnectionError(f"{path.name}: the answer is incomplete")
    return text.removesuffix(_END)
