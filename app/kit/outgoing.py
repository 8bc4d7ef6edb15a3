"""Send requests to URLs that callers chose, without reaching private networks.

The addresses of a host are checked where the connection is made, and the connection goes to the
address that was checked, so a host that changes its address meanwhile (DNS rebinding) gains
nothing. Redirects are not followed and proxies are not used.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpcore

_MOST_URL = 2000
_URL = re.compile(r"[!-~]+")  # ASCII, without spaces
_NAT64 = IPv6Network("64:ff9b::/96")


class OutgoingError(Exception):
    """A URL is not allowed, or its host did not answer; the message is for the caller."""


@dataclass(frozen=True)
class Answer:
    status: int
    content: bytes
    """At most as many bytes as were allowed."""


def check_url(url: str, private_hosts: Collection[str]) -> SplitResult:
    """Return the parts of an https URL. Raises OutgoingError.

    private_hosts: hosts with which http and private addresses are allowed.
    """
    if len(url) > _MOST_URL or not _URL.fullmatch(url):
        raise OutgoingError(f"must have at most {_MOST_URL:,} ASCII characters, without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise OutgoingError(f"is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise OutgoingError("must be a URL that begins with https://")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise OutgoingError("must have no user name, password or fragment")
    if host in private_hosts:
        return parts
    if parts.scheme != "https":
        raise OutgoingError("must begin with https://")
    if host == "localhost" or not _may_be_public(host):
        raise OutgoingError(_private(host))
    return parts


def send(
    method: str,
    url: str,
    *,
    private_hosts: Collection[str],
    seconds: float,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    most_bytes: int = 0,
) -> Answer:
    """Send one request and return the answer. Raises OutgoingError.

    seconds: time limit of everything after the look-up of the host's address. most_bytes: larger
    answers are an error; 0: the content is not read.
    """
    parts = check_url(url, private_hosts)
    backend = _GuardedBackend(parts.hostname in private_hosts, time.monotonic() + seconds)
    sent: list[tuple[bytes | str, bytes | str]] = [
        ("Host", parts.netloc),
        ("User-Agent", "dspt"),
        ("Accept-Encoding", "identity"),
        ("Content-Length", str(len(body))),
        *(headers or {}).items(),
    ]
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as pool,
            pool.stream(
                method, url, headers=sent, content=body, extensions={"timeout": _each(seconds)}
            ) as response,
        ):
            content = _read(response.iter_stream(), most_bytes) if most_bytes else b""
            return Answer(response.status, content)
    except httpcore.TimeoutException as error:
        raise OutgoingError(f"no complete answer within {seconds:g} s") from error
    except httpcore.ConnectError as error:
        tls = isinstance(error.__cause__, ssl.SSLError) or "SSL" in str(error)
        raise OutgoingError(
            "the TLS certificate is not valid" if tls else "cannot connect"
        ) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise OutgoingError("the connection broke, or the answer is not HTTP") from error


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        embedded = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            embedded = IPv4Address(int(found) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(str(embedded))
        if found.is_site_local:
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def _may_be_public(host: str) -> bool:
    """Return False only for the text of a private address: names are looked up later."""
    try:
        return is_public(host)
    except ValueError:
        return True


def _private(host: str) -> str:
    return f"{host} has a private address. The operator can allow it by DSPT_PRIVATE_HOSTS."


def _read(chunks: Iterable[bytes], most_bytes: int) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > most_bytes:
            raise OutgoingError(f"the answer has more than {most_bytes:,} bytes")
    return bytes(content)


def _each(seconds: float) -> dict[str, float]:
    return dict.fromkeys(("connect", "read", "write", "pool"), seconds)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only, until a deadline."""

    def __init__(self, private: bool, deadline: float) -> None:
        self._private = private
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise OutgoingError(f"{host} has no address") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._private and not all(map(is_public, addresses)):
            raise OutgoingError(_private(host))
        for address in addresses[:-1]:
            try:
                return self._connect(address, port)
            except httpcore.ConnectError:
                continue  # the next address may answer
        return self._connect(addresses[-1], port)

    def _connect(self, address: str, port: int) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(address, port, timeout=_left(self._deadline))
        return _TimedStream(stream, self._deadline)


class _TimedStream(httpcore.NetworkStream):
    """Ends at a deadline, however many bytes still arrive."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _TimedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    """Return the seconds until the deadline. Raises httpcore.ReadTimeout."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("deadline")
    return left
