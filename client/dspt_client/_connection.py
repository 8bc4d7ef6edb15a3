"""Send calls; repeat them where that is safe and may help."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from dspt_client._calls import Call, error_of
from dspt_client._exceptions import UnexpectedAnswer, Unreachable
from dspt_client._io import Io
from dspt_client._retries import Retries, is_broken

_log = logging.getLogger("dspt_client")
T = TypeVar("T")
#: Without a word, a longer pause looks like a hang.
_LONG_SECONDS = 5.0
_CUT_OFF = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
#: Statuses that the service may respond with before it has read the body.
_UNREAD = frozenset({401, 403, 429, 503, 507})


class Connection:
    """One service. Its methods raise Unreachable, UnexpectedAnswer and Refused."""

    def __init__(self, io: Io, address: str, retries: Retries) -> None:
        self.io = io
        self.retries = retries
        self._address = address

    def without_retries(self) -> Connection:
        """Return the same connection without retries, for a caller that repeats calls itself."""
        return Connection(self.io, self._address, Retries(most=0))

    async def call(self, call: Call[T]) -> T:
        """Return the parsed response."""
        response = await self._accepted(call, whole=True)
        return call.read(response.content)

    async def put_elsewhere(self, url: str, content: bytes) -> bool:
        """Send bytes to another server, without the API key; return whether it accepted them."""
        request = self.io.request("PUT", url, content=content)
        request.headers.pop("Authorization", None)
        try:
            response = await self.io.send(request)
            await self.io.read(response)
        except httpx.RequestError:
            return False
        return response.is_success

    @asynccontextmanager
    async def opened(self, call: Call[Any]) -> AsyncIterator[httpx.Response]:
        """Yield the response with its body unread."""
        response = await self._accepted(call, whole=False)
        try:
            yield response
        finally:
            await self.io.close(response)

    async def _accepted(self, call: Call[Any], *, whole: bool) -> httpx.Response:
        """Return a successful response; with `whole` it is read and closed."""
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
                raise UnexpectedAnswer(f"{self._address} redirects to {where}: use that address")
            else:
                pause = self.retries.after(response, tries)
                if not call.repeatable or pause is None:
                    raise error_of(response)
                if pause >= _LONG_SECONDS:
                    _log.warning("%s Trying again in %.0f s.", error_of(response), pause)
            await self.io.sleep(pause)

    async def _answer(self, call: Call[Any], *, whole: bool) -> httpx.Response:
        """Send the request once. The response is read if it is an error, or with `whole`."""
        request = self.io.request(call.method, call.path, **call.options)
        response = await self.io.send(request)
        if whole or not response.is_success:
            await self.io.read(response)
        return response

    async def _lost_answer(self, call: Call[Any]) -> httpx.Response | None:
        """Return the response to an upload that was cut off, or None.

        The service refuses some uploads before it has read them. The response may be lost with the
        connection, so the request is repeated without the files. None: they were not the reason.
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
            f"{self._address} cannot be reached: {reason}. Is the service running there? "
            "DSPT_URL sets another address."
        )


def _done_before(call: Call[Any], response: httpx.Response, tries: int) -> bool:
    """Return whether an earlier try, whose response was lost, has already deleted the object."""
    return call.method == "DELETE" and tries > 1 and response.status_code == 404
