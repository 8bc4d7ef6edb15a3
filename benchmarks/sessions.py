"""HTTP of the load generators, which share the CPUs with the service that they measure."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

#: The service closes a connection that is idle for five seconds.
_IDLE_SECONDS = 3.0
UNANSWERED = (aiohttp.ClientError, TimeoutError)
"""What a request without an answer raises."""


def session(
    host: str, port: int, headers: Mapping[str, str], timeout: float = 30.0
) -> aiohttp.ClientSession:
    """Return any number of connections to one address.

    `timeout`: seconds from sending a request to the end of its answer.
    """
    return aiohttp.ClientSession(
        f"http://{host}:{port}",
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
        headers=headers,
        timeout=aiohttp.ClientTimeout(timeout),
    )
