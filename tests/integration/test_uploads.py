"""Uploads over real sockets: bounded together, and ended when they trickle."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.kit.http import uploads
from tests.integration.conftest import settings_for, zip_of
from tests.integration.own_api import running
from tests.services import wait_until

ZIP = zip_of({"cat/1.png": bytes(200_000)})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FORM = b"".join(
    (
        b'--x\r\nContent-Disposition: form-data; name="dataset"; filename="a.zip"\r\n\r\n',
        ZIP,
        b"\r\n--x--\r\n",
    )
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An API that takes one upload at once, and at least 10,000 within half a second."""
    folder = tmp_path_factory.mktemp("uploads") / "data"
    settings = settings_for(f"sqlite:///{folder / 'dspt.db'}", folder).model_copy(
        update={"max_upload_bytes_in_flight": 150_000, "min_upload_bytes_per_second": 20_000}
    )
    with pytest.MonkeyPatch.context() as patch, running(settings) as (url, _):
        patch.setattr(uploads, "_WINDOW_SECONDS", 0.5)
        yield url


class Upload:
    """POST /jobs, sent piece by piece."""

    def __init__(self, url: str, *, chunked: bool = False) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        self._socket = socket.create_connection((place.hostname, place.port or 80), timeout=60)
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(FORM)
        self._socket.sendall(
            b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\nExpect: 100-continue\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" % length
        )

    def wait_until_counted(self) -> None:
        """Return when the API reads the body: from then on it counts."""
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += self._socket.recv(1)
        assert received.startswith(b"HTTP/1.1 100 "), received

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and body of the response."""
        received = b""
        while b"\r\n\r\n" not in received.removeprefix(_CONTINUE):
            received += self._socket.recv(65536) or b"\r\n\r\n"
        head, _, body = received.removeprefix(_CONTINUE).partition(b"\r\n\r\n")
        first, *lines = head.decode().splitlines()
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += self._socket.recv(65536)
        return int(first.split()[1]), headers, json.loads(body)

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is too slow."""
    monkeypatch.setattr(uploads, "_WINDOW_SECONDS", 600.0)


@pytest.mark.usefixtures("patient")
def test_uploads_are_bounded_together(api: str) -> None:
    with Upload(api) as first:
        first.wait_until_counted()
        with Upload(api) as second:  # also without its body
            status, headers, problem = second.answer()
        assert (status, problem["code"]) == (503, "uploads_busy")
        assert headers["retry-after"] == "10"
        assert "DSPT_MAX_UPLOAD_BYTES_IN_FLIGHT" in problem["detail"]
        with Upload(api, chunked=True) as unknown:  # it may be as large as the limit of the call
            assert unknown.answer()[0] == 503
        assert httpx.get(f"{api}/jobs").status_code == 200
        small = httpx.post(f"{api}/jobs", data={"name": "a"})
        assert small.status_code == 422
        first.send(FORM)
        assert first.answer()[0] == 202
    with Upload(api) as third:
        third.send(FORM)
        assert third.answer()[0] == 202


@pytest.mark.usefixtures("patient")
def test_an_upload_that_breaks_off_makes_room(api: str) -> None:
    with Upload(api) as first:
        first.send(FORM[:100_000])

    def accepted() -> bool:
        with Upload(api) as second:
            second.send(FORM)
            return second.answer()[0] == 202

    wait_until(accepted, 60, "room for the second upload")


@pytest.mark.parametrize("start", [0, 150_000])
def test_a_body_that_trickles_ends(api: str, start: int) -> None:
    with Upload(api) as slow:
        slow.send(FORM[:start])
        slow.send(FORM[start : start + 10])
        status, headers, problem = slow.answer()
    assert (status, problem["code"]) == (408, "body_too_slow")
    assert headers["connection"] == "close"
    assert "DSPT_MIN_UPLOAD_BYTES_PER_SECOND" in problem["detail"]


def test_the_rest_of_a_refused_body_may_not_trickle_either(api: str) -> None:
    place = urlsplit(api)
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=60) as slow:
        slow.sendall(
            b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\nabc"
        )
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
