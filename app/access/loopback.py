"""Without keys the service is for this machine alone: how that is made sure of.

An address that can be reached from elsewhere is not bound to (`check_binding`). Whatever server
runs the app, each request is looked at too (`check_local`): both ends of its connection have to be
on this machine. And it must not come from a web page that the user has open, which his browser
would send from this machine: by a name that an attacker lets point here (DNS rebinding), or to
change something across sites.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from app.kit.http.errors import Forbidden

MAKE_A_KEY = "Make a key with `dspt keys create NAME`"
_SAFE = ("GET", "HEAD", "OPTIONS")


def is_loopback(address: str) -> bool:
    """Whether it is an IP address by which only this machine can be meant."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def binds_to_loopback(host: str) -> bool:
    """Whether all addresses of `host` are loopback. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(is_loopback(str(address[0])) for *_, address in found)


def check_local(scope: Scope) -> None:
    """Raise Forbidden unless a request comes from this machine, and not from a foreign page."""
    # Both ends: a proxy's X-Forwarded-For can change what the client's address seems to be.
    ends = (scope.get("client"), scope.get("server"))
    if not all(end is not None and is_loopback(end[0]) for end in ends):
        raise Forbidden(
            f"This service has no API keys yet, so it answers its own machine only. {MAKE_A_KEY} "
            "there, and send it as `Authorization: Bearer KEY`.",
            code="keys_needed",
        )
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not _is_local_name(host):
        raise Forbidden(
            "Without API keys this service answers to the names localhost and 127.0.0.1 only. "
            f"Use one of them. {MAKE_A_KEY} to use any other name.",
            code="host_not_local",
        )
    if scope["method"] not in _SAFE and _from_another_site(headers, host):
        raise Forbidden(
            "Without API keys no page of another site may change anything here. "
            f"{MAKE_A_KEY}, and let the page send it.",
            code="cross_site",
        )


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def _from_another_site(headers: Headers, host: str) -> bool:
    """As the browser says; programs say nothing. `none`: the user typed the address."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.rpartition("//")[2].lower() != host.lower()
