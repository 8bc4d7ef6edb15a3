"""HTTP of the load generators, which share the CPUs with the service that they measure."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

#: The service closes a connection that is idle for five seconds.
_IDLE_SECONDS = 3.0
UNANSWERED = (aiohttp.ClientError, TimeoutError)
"""What a request without an answer raises."""


def session(
    host: str,
    port: int,
    headers: Mapping[str, str],
    timeout: float = 30.0,
    *,
    keep_alive: bool = True,
) -> aiohttp.ClientSession:
    """Return any number of connections to one address.

    `timeout`: seconds from sending a request to the end of its answer. keep_alive: whether a
    connection serves several requests.
    """
    kept = {"keepalive_timeout": _IDLE_SECONDS} if keep_alive else {"force_close": True}
    opened = aiohttp.ClientSession(
        f"http://{host}:{port}",
        connector=aiohttp.TCPConnector(limit=0, **kept),
        headers=headers,
        timeout=aiohttp.ClientTimeout(timeout),
    )
    opened._retry_connection = False  # a request that the service drops is to be counted
    return opened
