"""A server of a few lines, for what the benchmarks' clients send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp

from benchmarks.sessions import session

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server that handles each connection so."""
    handled: list[asyncio.Task[None] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handled.append(asyncio.current_task())
        try:
            await handler(reader, writer)
        except asyncio.IncompleteReadError:  # the client has hung up
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async with asyncio.timeout(20), await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with session(host, port, {"Authorization": "Bearer k"}) as client:
            yield client
        await asyncio.gather(*(task for task in handled if task is not None))
