"""Without API keys the service accepts requests of its own user's programs on its own machine only.

The server refuses to bind to an address that other machines can reach (`check_binding`). In
addition, each request is checked (`LocalRequests`): both ends of its connection must be loopback
addresses, no proxy may have passed it on, and a program of the same user must have sent it.
Requests that a foreign web page makes through the user's browser are refused too: through a host
name that an attacker points to this machine (DNS rebinding), or across sites.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

from cachetools import LRUCache
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Scope

from app.access.cross_site import SAFE_METHODS, from_another_site
from app.access.local_user import Peer, identify
from app.kit.http.errors import Forbidden

CREATE_A_KEY = "Create a key with `dspt keys create NAME`"
_FORWARDED = ("forwarded", "x-real-ip", "via")
_REFUSED = {
    Peer.OTHER_USER: "This request does not come from a program of the user who runs the service, "
    "or the program cannot be inspected, such as a proxy or an SSH tunnel.",
    Peer.SERVER: "This request comes from a program that accepts connections from other machines, "
    "such as a proxy.",
}
#: Open connections whose sender is remembered.
_CONNECTIONS = 1024


def is_loopback(address: str) -> bool:
    """Return whether `address` is a loopback IP address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def binds_to_loopback(host: str) -> bool:
    """Return whether all addresses of `host` are loopback. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(is_loopback(str(address[0])) for *_, address in found)


class LocalRequests:
    """Checks requests to a service without API keys.

    `no_auth`: accept the programs of all users of this machine.
    """

    def __init__(self, no_auth: bool) -> None:
        self._no_auth = no_auth
        # By the identity of the server's address object, which belongs to one connection. The
        # object is kept as well, so that no other can have its identity.
        self._peers: LRUCache[int, tuple[Any, Peer]] = LRUCache(_CONNECTIONS)

    async def check(self, scope: Scope) -> None:
        """Raise Forbidden unless the request comes from the user of this service."""
        check_local(scope)
        if self._no_auth:
            return
        connection = scope["client"]
        known = self._peers.get(id(connection))
        if known is None:
            peer = await run_in_threadpool(identify, connection, scope["server"])
            known = self._peers[id(connection)] = connection, peer
        if reason := _REFUSED.get(known[1]):
            raise Forbidden(
                f"{reason} Without API keys only that user's own programs are allowed. "
                f"{CREATE_A_KEY} and send it as `Authorization: Bearer KEY`.",
                code="keys_needed",
            )


def check_local(scope: Scope) -> None:
    """Raise Forbidden unless the request comes from this machine, no proxy and no foreign page."""
    # Both ends: a proxy's X-Forwarded-For can change the apparent address of the client.
    ends = (scope.get("client"), scope.get("server"))
    headers = Headers(scope=scope)
    local = all(end is not None and is_loopback(end[0]) for end in ends)
    if not local or any(_is_of_a_proxy(name) for name in headers):
        raise Forbidden(
            f"This service has no API keys yet and accepts requests from its own machine only, and "
            f"none through a proxy. {CREATE_A_KEY} on that machine and send it as "
            "`Authorization: Bearer KEY`.",
            code="keys_needed",
        )
    host = headers.get("host", "")
    if not _is_local_name(host):
        raise Forbidden(
            "Without API keys this service accepts the host names localhost and 127.0.0.1 only. "
            f"Use one of them. {CREATE_A_KEY} to use any other host name.",
            code="host_not_local",
        )
    # Without DSPT_CORS_ORIGINS a browser keeps the answer to a safe request from the page anyway.
    changes = scope["method"] not in SAFE_METHODS
    if (changes or "origin" in headers) and from_another_site(headers, host):
        raise Forbidden(
            "Without API keys a page of another site must not use this service. "
            f"{CREATE_A_KEY} and send it from the page.",
            code="cross_site",
        )


def _is_of_a_proxy(header: str) -> bool:
    return header in _FORWARDED or header.startswith("x-forwarded-")


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)
