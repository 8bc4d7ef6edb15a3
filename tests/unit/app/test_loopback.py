"""Requests from this machine, as opposed to requests from a web page open on it."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.loopback import binds_to_loopback, check_local, is_loopback
from app.kit.http.errors import Forbidden

HERE = ("127.0.0.1", 50000)


def request(
    method: str = "POST",
    client: tuple[str, int] | None = HERE,
    server: tuple[str, int] | None = ("127.0.0.1", 8000),
    **headers: str,
) -> dict[str, Any]:
    named = {"host": "127.0.0.1:8000"} | headers
    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in named.items()]
    return {"type": "http", "method": method, "client": client, "server": server, "headers": raw}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.2", False),
        ("::ffff:192.168.0.2", False),
        ("127.0.0.1.evil.example", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_addresses(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_bind_addresses() -> None:
    assert binds_to_loopback("127.0.0.1")
    assert binds_to_loopback("localhost")
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        assert not binds_to_loopback(host)
    with pytest.raises(OSError, match=r"."):
        binds_to_loopback("")


@pytest.mark.parametrize(
    "scope",
    [
        request(),
        request(client=("::1", 5), server=("::1", 8000), host="[::1]:8000"),
        request(host="localhost:8000"),
        request(host="localhost"),
        request(host="LOCALHOST:80"),
        request(origin="http://127.0.0.1:8000", sec_fetch_site="same-origin"),
        request(sec_fetch_site="none"),
        request(method="GET", sec_fetch_site="cross-site"),  # such as a link
    ],
)
def test_accepted_requests(scope: dict[str, Any]) -> None:
    check_local(scope)


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (request(client=("192.168.0.2", 5)), "keys_needed"),
        (request(server=("192.168.0.3", 8000)), "keys_needed"),
        (request(client=None), "keys_needed"),
        (request(forwarded="for=127.0.0.1"), "keys_needed"),
        (request(x_forwarded_for="127.0.0.1"), "keys_needed"),
        (request(method="GET", x_forwarded_prefix="/dspt"), "keys_needed"),
        (request(x_real_ip="127.0.0.1"), "keys_needed"),
        (request(via="1.1 proxy"), "keys_needed"),
        (request(server=None), "keys_needed"),
        (request(client=("testclient", 5)), "keys_needed"),
        (request(method="GET", host="evil.example:8000"), "host_not_local"),
        (request(host="127.0.0.1.evil.example"), "host_not_local"),
        (request(host="localhost.evil.example"), "host_not_local"),
        (request(host="127.0.0.1@evil.example"), "host_not_local"),
        (request(host=""), "host_not_local"),
        (request(host="["), "host_not_local"),
        (request(host="[::1"), "host_not_local"),
        (request(sec_fetch_site="cross-site"), "cross_site"),
        (request(sec_fetch_site="same-site"), "cross_site"),
        (request(method="DELETE", origin="https://evil.example"), "cross_site"),
        (request(origin="http://127.0.0.1:3000"), "cross_site"),
        (request(origin="http://localhost:8000"), "cross_site"),
        (request(origin="null"), "cross_site"),
        (request(method="GET", origin="https://evil.example"), "cross_site"),
    ],
)
def test_refused_requests(scope: dict[str, Any], code: str) -> None:
    with pytest.raises(Forbidden) as caught:
        check_local(scope)
    assert caught.value.code == code
    assert "dspt keys create" in str(caught.value.detail)
