"""A service without keys behind a proxy on the same machine that sends no headers of its own."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest

from app.access import local_user
from app.access.binding import BindingRefused, check_binding
from app.access.local_user import Peer, identify
from app.kit.settings import Settings
from tests.integration import proxy
from tests.integration.jobs import problem
from tests.integration.own_api import running

OTHER_USER = 65533
needs_linux = pytest.mark.skipif(not local_user.available(), reason="needs /proc/net/tcp")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start another user's")


@pytest.fixture
def keyless(tmp_path: Path, sqlite_template: Path) -> Settings:
    """Settings of a service without keys that checks its callers."""
    (tmp_path / "dspt.db").write_bytes(sqlite_template.read_bytes())
    return Settings(data_dir=tmp_path)


@pytest.fixture(params=["inet_diag", "files"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the sockets are read: some kernels lack `inet_diag`."""
    if request.param == "files":
        refused = Mock(side_effect=OSError(errno.ENOENT, "no such module"))
        monkeypatch.setattr(local_user, "_from_kernel", refused)
    else:
        monkeypatch.setattr(local_user, "_from_files", Mock(side_effect=AssertionError))
    return str(request.param)


@contextmanager
def proxied(url: str, host: str, *fork: str, user: int | None = None) -> Iterator[str]:
    """The address of a proxy on `host` that runs as `user`."""
    arguments = [host, url.rpartition(":")[2], str(os.getuid() if user is None else user), *fork]
    command = [sys.executable, "-P", str(proxy.__file__), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def as_nginx_sends(url: str, target: str) -> httpx.Response:
    """A request through a proxy whose `Host` is the address that the proxy connects to."""
    return httpx.get(f"{url}/jobs", headers={"Host": target.rpartition("/")[2]})


@needs_linux
def test_the_users_own_programs_need_no_key(keyless: Settings) -> None:
    with running(keyless) as (url, _), httpx.Client(base_url=url) as client:
        for _ in range(3):
            assert client.get("/jobs").status_code == 200
        curl = ["curl", "-sf", "--max-time", "60", f"{url}/jobs"]
        assert b'"data":[]' in subprocess.run(curl, capture_output=True, check=True).stdout
        assert b'"data":[]' in subprocess.run(curl, capture_output=True, check=True).stdout


@needs_linux
@needs_root
@pytest.mark.usefixtures("source")
def test_a_proxy_of_another_user_is_refused(keyless: Settings) -> None:
    with running(keyless) as (url, _), proxied(url, "127.0.0.1", user=OTHER_USER) as outside:
        found = problem(as_nginx_sends(outside, url), 403, "keys_needed")
        assert "user who runs the service" in found["detail"]
        assert "dspt keys create" in found["detail"]
        assert httpx.get(f"{outside}/health/live").status_code == 200


@needs_linux
@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("fork", [(), ("fork",)])
def test_a_proxy_of_the_same_user_is_refused(keyless: Settings, fork: tuple[str, ...]) -> None:
    with running(keyless) as (url, _), proxied(url, "0.0.0.0", *fork) as outside:
        found = problem(as_nginx_sends(outside, url), 403, "keys_needed")
        assert "accepts connections from other machines" in found["detail"]


@needs_linux
def test_a_program_that_serves_this_machine_only_is_no_proxy(keyless: Settings) -> None:
    with running(keyless) as (url, _), proxied(url, "127.0.0.1") as own:
        assert as_nginx_sends(own, url).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Via"],
)
@pytest.mark.parametrize("no_auth", [False, True])
def test_a_forwarded_request_is_never_local(keyless: Settings, header: str, no_auth: bool) -> None:
    with running(keyless.model_copy(update={"no_auth": no_auth})) as (url, _):
        problem(httpx.get(f"{url}/jobs", headers={header: "127.0.0.1"}), 403, "keys_needed")


@needs_root
def test_no_auth_accepts_every_local_program(keyless: Settings) -> None:
    with (
        running(keyless.model_copy(update={"no_auth": True})) as (url, _),
        proxied(url, "127.0.0.1", user=OTHER_USER) as outside,
    ):
        assert as_nginx_sends(outside, url).status_code == 200


def test_a_system_that_tells_no_user_needs_a_key_or_no_auth(
    keyless: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_user, "available", lambda: False)
    with pytest.raises(BindingRefused, match="--no-auth") as caught:
        check_binding("127.0.0.1", keyless)
    assert "dspt keys create" in str(caught.value)
    no_auth = keyless.model_copy(update={"no_auth": True})
    check_binding("127.0.0.1", no_auth)
    with pytest.raises(BindingRefused, match="other machines"):
        check_binding("0.0.0.0", no_auth)


@contextmanager
def connection(
    family: socket.AddressFamily, host: str
) -> Iterator[tuple[socket.socket, tuple[str, int], tuple[str, int]]]:
    """The client's end of a connection to `host`, and the addresses as the server sees them."""
    listening = "::1" if host == "::1" else "127.0.0.1"
    server_family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    with (
        socket.create_server((listening, 0), family=server_family) as listener,
        socket.socket(family) as client,
    ):
        client.connect((host, listener.getsockname()[1]))
        accepted, address = listener.accept()
        with accepted:
            yield client, address[:2], accepted.getsockname()[:2]


@needs_linux
@pytest.mark.usefixtures("source")
@pytest.mark.parametrize(
    ("family", "host"),
    [
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::ffff:127.0.0.1"),  # as Java connects
    ],
)
def test_the_holder_of_a_connection(family: socket.AddressFamily, host: str) -> None:
    with connection(family, host) as (client, address, server):
        assert identify(address, server) is Peer.SAME_USER
        assert identify((address[0], address[1] - 1), server) is Peer.OTHER_USER
        # Its row stays for a minute, with user 0, which may be the service's user.
        client.close()
        assert identify(address, server) is Peer.OTHER_USER


@needs_linux
@needs_root
@pytest.mark.parametrize(("inspectable", "expected"), [(True, "SAME_USER"), (False, "OTHER_USER")])
def test_a_process_that_dropped_its_privileges_is_refused(inspectable: bool, expected: str) -> None:
    """As nginx's workers do, here to the very user of the service."""
    service = (
        "import encodings.idna, os, socket; from app.access.local_user import identify\n"
        f"os.setuid({OTHER_USER})\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "listener.settimeout(60)\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "accepted, client = listener.accept()\n"
        "print(identify(client, accepted.getsockname()).name, flush=True)\n"
    )
    # A process started by another user is made what one is that was started by this user.
    restore = "ctypes.CDLL(None).prctl(4, 1)" if inspectable else ""
    client = (
        f"import ctypes, encodings.idna, os, socket; os.setuid({OTHER_USER}); {restore}\n"
        "held = socket.create_connection(('127.0.0.1', {port})); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", service], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        code = client.format(port=int(process.stdout.readline()))
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as connected:
            assert process.stdout.readline().strip() == expected
            connected.communicate(b"\n")
