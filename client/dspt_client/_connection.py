"""Sends calls, and sends them again where that is safe and may help."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from dspt_client._calls import Call, error_of
from dspt_client._exceptions import UnexpectedAnswer, Unreachable
from dspt_client._io import Io
from dspt_client._retries import Retries, is_broken

T = TypeVar("T")
_CUT_OFF = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
#: With these the service answers before it has read what was sent.
_UNREAD = frozenset({401, 403, 429, 503, 507})


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
            response, broken = None, None
            try:
                response = await self._answer(call, whole=whole)
            except httpx.RequestError as error:
                broken = error
                if "files" in call.options and isinstance(error, _CUT_OFF):
                    response = await self._lost_answer(call)
            if response is None:
                assert broken is not None
                pause = self.retries.pause(tries) if is_broken(broken) else None
                if not call.repeatable or pause is None:
                    raise self.unreachable(broken) from broken
            elif response.is_success or _done_before(call, response, tries):
                return response
            elif not response.is_error:
                where = response.headers.get("Location", "elsewhere")
                raise UnexpectedAnswer(f"{self._address} sends on to {where}: use that address")
            else:
                pause = self.retries.after(response, tries)
                if not call.repeatable or pause is None:
                    raise error_of(response)
            await self.io.sleep(pause)

    async def _answer(self, call: Call[Any], *, whole: bool) -> httpx.Response:
        """The answer to one try; read if it is an error, or if it is wanted `whole`."""
        request = self.io.request(call.method, call.path, **call.options)
        response = await self.io.send(request)
        if whole or not response.is_success:
            await self.io.read(response)
        return response

    async def _lost_answer(self, call: Call[Any]) -> httpx.Response | None:
        """Why an upload was cut off: the service refuses some before it has read them.

        It says why, but the answer may be lost with the connection. So it is asked again, without
        the files; None where they were not the reason.
        """
        try:
            response = await self.io.send(self.io.request(call.method, call.path))
            await self.io.read(response)
        except httpx.RequestError:
            return None
        return response if response.status_code in _UNREAD else None

    def unreachable(self, error: httpx.RequestError) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(
            f"{self._address} cannot be reached: {reason}. Is the service up there? "
            "DSPT_URL names another address."
        )


def _done_before(call: Call[Any], response: httpx.Response, tries: int) -> bool:
    """Whether what is to be deleted was deleted by an earlier try whose answer was lost."""
    return call.method == "DELETE" and tries > 1 and response.status_code == 404
