"""Requests to URLs that callers chose: which addresses they reach, and how long they may take."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest

from app.kit.outgoing import OutgoingError, check_url, is_public, send
from tests.receiver import Receiver, receiver

LOCAL = frozenset({"127.0.0.1"})


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as opened:
        yield opened


def get(url: str, seconds: float = 5, **options: Any) -> Any:
    return send("GET", url, private_hosts=LOCAL, seconds=seconds, **options)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        *(
            (private, False)
            for private in (
                *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
                *("0.0.0.0", "100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255"),
                *("::", "::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1"),
                *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1"),
            )
        ),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def addresses(*found: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in found]


@pytest.mark.parametrize("found", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"]])
def test_a_name_with_a_private_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses(*found))
    check_url("https://example.com/", LOCAL)
    with pytest.raises(OutgoingError, match="private address"):
        get("https://example.com/")


def test_the_address_that_was_checked_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [addresses("8.8.8.8"), addresses("127.0.0.1")]  # DNS rebinding
    connected: list[str] = []

    def connect(_self: object, host: str, *_: object, **__: object) -> Any:
        connected.append(host)
        raise httpcore.ConnectError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    with pytest.raises(OutgoingError, match="cannot connect"):
        get("https://example.com/")
    assert connected == ["8.8.8.8"]


def test_numbers_that_are_addresses_are_looked_up_too() -> None:
    for url in ("https://2130706433/", "https://0x7f.1/"):  # 127.0.0.1
        with pytest.raises(OutgoingError, match=r"private address|no address"):
            send("GET", url, private_hosts=(), seconds=5)


def test_the_answer_and_its_limits(server: Receiver) -> None:
    assert get(server.url, most_bytes=100).content == b"thank you"
    with pytest.raises(OutgoingError, match="more than 8 bytes"):
        get(server.url, most_bytes=8)
    server.statuses.append(302)
    assert get(server.url).status == 302
    assert server.requests[-1].path == "/hook"
    with pytest.raises(OutgoingError, match="begin with https"):
        send("GET", server.url, private_hosts=(), seconds=5)
    with pytest.raises(OutgoingError, match="TLS"):
        get(server.url.replace("http:", "https:"))


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-Long: "])
def test_an_answer_that_never_ends_is_given_up(start: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(start)
                while start and not ended.wait(0.05):  # each byte in time, but without end
                    connection.sendall(b"x")
                ended.wait(30)

        thread = threading.Thread(target=drip)
        thread.start()
        before = time.monotonic()
        with pytest.raises(OutgoingError, match="no complete answer within"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.4)
        ended.set()
        thread.join()
        assert time.monotonic() - before < 10
