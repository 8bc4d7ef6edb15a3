"""The socket that the API listens on, bound before the API starts."""

from __future__ import annotations

import errno
import socket

from app.serve import ServeError

#: The length of sun_path is 108 bytes on Linux and 104 on macOS, including the final zero.
SOCKET_PATH_BYTES = 103


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen: connections are refused until the API is up.

    port: 0 selects a free one. Only the first address of `host` is bound: IPv6 or IPv4, not both.
    Raises ServeError.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ServeError(
            f"--host {host}: not an address of this machine ({error.strerror})."
        ) from error
    family, _, _, _, address = addresses[0]
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:  # a machine without IPv6
        raise ServeError(_why_not(host, port, error)) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # whatever the default of the system, as asyncio does
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ServeError(_why_not(host, port, error)) from error
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"--host {host}: not an address of this machine ({error.strerror})."
    fix = "Choose another port with --port (0 selects a free one)."
    if error.errno == errno.EADDRINUSE:
        fix = (
            "Stop the program that uses it, or choose another port with --port (0 selects a free "
            "one)."
        )
    return f"Port {port} of {host} is not available: {error.strerror}. {fix}"


def url_of(listener: socket.socket) -> str:
    """Return the address of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
