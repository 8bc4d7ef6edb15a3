"""Send requests, on an event loop or blocking: the only difference between the two clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

import httpx

T = TypeVar("T")


class Io(Protocol):
    """The I/O of calls. Responses are streams: `read` or iterate, then `close`.

    Raises httpx.RequestError.
    """

    def request(self, method: str, url: str, **options: Any) -> httpx.Request: ...

    async def send(self, request: httpx.Request) -> httpx.Response: ...

    async def read(self, response: httpx.Response) -> bytes: ...

    def lines(self, response: httpx.Response) -> AsyncIterator[str]: ...

    def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]: ...

    async def close(self, response: httpx.Response) -> None: ...

    async def sleep(self, seconds: float) -> None: ...

    async def work(self, function: Callable[[], T]) -> T:
        """Return the result of a function that takes long or reads files."""

    async def shut(self) -> None: ...


class AsyncIo:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    def request(self, method: str, url: str, **options: Any) -> httpx.Request:
        return self._http.build_request(method, url, **options)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self._http.send(request, stream=True)

    async def read(self, response: httpx.Response) -> bytes:
        return await response.aread()

    def lines(self, response: httpx.Response) -> AsyncIterator[str]:
        return response.aiter_lines()

    def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        return response.aiter_bytes()

    async def close(self, response: httpx.Response) -> None:
        await response.aclose()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def work(self, function: Callable[[], T]) -> T:
        return await asyncio.to_thread(function)

    async def shut(self) -> None:
        await self._http.aclose()


class BlockingIo:
    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def request(self, method: str, url: str, **options: Any) -> httpx.Request:
        return self._http.build_request(method, url, **options)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return self._http.send(request, stream=True)

    async def read(self, response: httpx.Response) -> bytes:
        return response.read()

    async def lines(self, response: httpx.Response) -> AsyncIterator[str]:
        for line in response.iter_lines():
            yield line

    async def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        for chunk in response.iter_bytes():
            yield chunk

    async def close(self, response: httpx.Response) -> None:
        response.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def work(self, function: Callable[[], T]) -> T:
        return function()

    async def shut(self) -> None:
        self._http.close()
