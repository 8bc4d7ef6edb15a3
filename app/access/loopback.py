"""Without API keys the service accepts requests from its own machine only.

The server refuses to bind to an address that other machines can reach (`check_binding`). In
addition, each request is checked (`check_local`): both ends of its connection must be loopback
addresses. Requests that a foreign web page makes through the user's browser are refused too:
through a host name that an attacker points to this machine (DNS rebinding), or across sites.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from app.kit.http.errors import Forbidden

CREATE_A_KEY = "Create a key with `dspt keys create NAME`"
_SAFE = ("GET", "HEAD", "OPTIONS")


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


def check_local(scope: Scope) -> None:
    """Raise Forbidden unless the request comes from this machine and from no foreign page."""
    # Both ends: a proxy's X-Forwarded-For can change the apparent address of the client.
    ends = (scope.get("client"), scope.get("server"))
    if not all(end is not None and is_loopback(end[0]) for end in ends):
        raise Forbidden(
            f"This service has no API keys yet and accepts requests from its own machine only. "
            f"{CREATE_A_KEY} on that machine and send it as `Authorization: Bearer KEY`.",
            code="keys_needed",
        )
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not _is_local_name(host):
        raise Forbidden(
            "Without API keys this service accepts the host names localhost and 127.0.0.1 only. "
            f"Use one of them. {CREATE_A_KEY} to use any other host name.",
            code="host_not_local",
        )
    if scope["method"] not in _SAFE and _from_another_site(headers, host):
        raise Forbidden(
            "Without API keys a page of another site must not change anything here. "
            f"{CREATE_A_KEY} and send it from the page.",
            code="cross_site",
        )


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def _from_another_site(headers: Headers, host: str) -> bool:
    """Judge by the browser's headers, which programs do not send. `none`: a typed address."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.rpartition("//")[2].lower() != host.lower()
