"""Sends calls, and sends them again where that is safe and may help."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from app.client._calls import Call, error_of
from app.client._exceptions import UnexpectedAnswer, Unreachable
from app.client._io import Io
from app.client._retries import Retries, is_broken

T = TypeVar("T")


class Connection:
    """One service. Its methods raise Unreachable, UnexpectedAnswer and Refused."""

    def __init__(self, io: Io, address: str, retries: Retries) -> None:
        self.io = io
        self.retries = retries
        self._address = address

    def without_retries(self) -> Connection:
        """The same, for a caller that has a patience of its own."""
        return Connection(self.io, self._address, Retries(most=0))

    async def call(self, call: Call[T]) -> T:
        """The answer to a call."""
        response = await self._accepted(call, whole=True)
        return call.read(response.content)

    @asynccontextmanager
    async def opened(self, call: Call[Any]) -> AsyncIterator[httpx.Response]:
        """The answer to a call, its body yet to be read."""
        response = await self._accepted(call, whole=False)
        try:
            yield response
        finally:
            await self.io.close(response)

    async def _accepted(self, call: Call[Any], *, whole: bool) -> httpx.Response:
        """An answer that is no error; `whole`: read, and closed."""
        tries = 0
        while True:
            tries += 1
            try:
                request = self.io.request(call.method, call.path, **call.options)
                response = await self.io.send(request)
                accepted = response.is_success or _done_before(call, response, tries)
                if whole or not accepted:
                    await self.io.read(response)
                if accepted:
                    return response
            except httpx.RequestError as error:
                pause = self.retries.pause(tries) if is_broken(error) else None
                if not call.repeatable or pause is None:
                    raise self.unreachable(error) from error
            else:
                if not response.is_error:
                    where = response.headers.get("Location", "elsewhere")
                    raise UnexpectedAnswer(f"{self._address} sends on to {where}: use that address")
                after = self.retries.after(response, tries)
                if not call.repeatable or after is None:
                    raise error_of(response)
                pause = after
            await self.io.sleep(pause)

    def unreachable(self, error: httpx.RequestError) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(
            f"{self._address} cannot be reached: {reason}. Is the service up there? "
            "DSPT_URL names another address."
        )


def _done_before(call: Call[Any], response: httpx.Response, tries: int) -> bool:
    """Whether what is to be deleted was deleted by an earlier try whose answer was lost."""
    return call.method == "DELETE" and tries > 1 and response.status_code == 404
