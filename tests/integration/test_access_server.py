"""`dspt keys` and `dspt api` as an operator uses them, and callers without a valid key."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access.binding import BindingRefused, check_binding
from app.kit.settings import Settings
from tests.commands import invoke
from tests.integration.access import bearer
from tests.integration.conftest import zip_of
from tests.services import clean_environment, free_port, wait_until

COMMAND = [sys.executable, "-m", "app.cli", "api"]


def run(*arguments: str, data_dir: Path) -> Any:
    """`dspt keys ...`, in this process."""
    return invoke(["keys", *arguments, "--data-dir", str(data_dir)])


def create(*arguments: str, data_dir: Path) -> tuple[str, str]:
    """Id and text of a new key."""
    result = run("create", *arguments, data_dir=data_dir)
    assert result.exit_code == 0, result.output
    token = result.stdout.strip()
    return "key_" + token.split("_")[1], token


@dataclass
class Server:
    """An API that other machines can reach."""

    url: str
    port: int
    data_dir: Path
    token: str
    log: Path
    temporary: Path
    process: subprocess.Popen[bytes]

    def jobs(self, token: str) -> int:
        return httpx.get(f"{self.url}/jobs", headers=bearer(token)).status_code


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    data_dir, temporary, port = folder / "data", folder / "tmp", free_port()
    temporary.mkdir()
    environment = clean_environment(
        DSPT_DATA_DIR=str(data_dir),
        DSPT_HOST="0.0.0.0",
        DSPT_PORT=str(port),
        DSPT_LOG_LEVEL="DEBUG",
        DSPT_LOG_FORMAT="json",
        TMPDIR=str(temporary),
    )
    refused = subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert refused.returncode == 1
    assert "0.0.0.0 (DSPT_HOST) can be reached from other machines" in refused.stderr
    assert "dspt keys create NAME" in refused.stderr
    assert not data_dir.exists()
    _, token = create("ann", data_dir=data_dir)
    log = folder / "api.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(COMMAND, env=environment, stdout=file, stderr=file) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: answers(url, process, log), 120, "the API")
            yield Server(url, port, data_dir, token, log, temporary, process)
        finally:
            process.terminate()
            process.wait(120)


def answers(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return httpx.get(f"{url}/health/live").status_code == 200
    except httpx.TransportError:
        return False


def test_keys_are_made_and_revoked_while_it_runs(server: Server) -> None:
    assert server.jobs(server.token) == 200
    key_id, token = create("Bob's laptop", "--owner", "bob", data_dir=server.data_dir)
    assert server.jobs(token) == 200
    result = run("list", "--json", data_dir=server.data_dir)
    listed = {key["id"]: key for key in json.loads(result.stdout)}
    assert listed[key_id]["name"] == "Bob's laptop"
    assert listed[key_id]["owner"] == "bob"
    assert listed[key_id]["scopes"] == ["read", "submit"]
    assert listed[key_id]["revoked_at"] is None
    assert token.rpartition("_")[2] not in result.stdout
    assert key_id in run("list", data_dir=server.data_dir).stdout
    assert f"Revoked {key_id}" in run("revoke", key_id, data_dir=server.data_dir).stdout
    assert server.jobs(token) == 401
    assert server.jobs(server.token) == 200


def test_the_scopes_of_a_key(server: Server) -> None:
    _, token = create("viewer", "--scope", "read", data_dir=server.data_dir)
    assert server.jobs(token) == 200
    response = httpx.post(f"{server.url}/jobs/job_1/cancel", headers=bearer(token))
    assert response.status_code == 403
    assert response.json()["code"] == "scope_missing"
    assert 'scope="submit"' in response.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["create", "a\nb"], "NAME"),
        (["create", " "], "NAME"),
        (["create", "x" * 101], "NAME"),
        (["create", "a", "--owner", "\x1b[31m"], "--owner"),
        (["create", "a", "--scope", "root"], "--scope"),
        (["revoke", "key_1"], "key_1"),
    ],
)
def test_mistakes_are_named(server: Server, arguments: list[str], named: str) -> None:
    result = run(*arguments, data_dir=server.data_dir)
    assert result.exit_code != 0
    assert named in result.output
    assert "Traceback" not in result.output


def test_mistakes_about_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    result = run("list", data_dir=tmp_path / "file" / "data")
    assert (result.exit_code, "--data-dir" in result.output) == (1, True)
    monkeypatch.setenv("DSPT_DATABASE_URL", "postgresql://user@127.0.0.1:1/none")
    result = run("list", data_dir=tmp_path)
    assert (result.exit_code, "are both set" in result.output) == (2, True)
    result = invoke(["keys", "list"])
    assert (result.exit_code, "DSPT_DATABASE_URL" in result.output) == (1, True)


def test_the_files_are_closed_to_other_users(tmp_path: Path) -> None:
    create("ann", data_dir=tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_binding(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'dspt.db'}")
    check_binding("localhost", settings)
    with pytest.raises(BindingRefused, match="dspt keys create"):
        check_binding("0.0.0.0", settings)
    assert not list(tmp_path.iterdir())
    key_id, _ = create("ann", data_dir=tmp_path)
    check_binding("0.0.0.0", settings)
    run("revoke", key_id, data_dir=tmp_path)
    with pytest.raises(BindingRefused, match="dspt keys create"):
        check_binding("::", settings)
    with pytest.raises(BindingRefused, match="not an address"):
        check_binding("no.such.host.invalid", settings)
    with pytest.raises(BindingRefused, match="DSPT_DATABASE_URL"):
        check_binding("0.0.0.0", Settings(database_url="postgresql://user@127.0.0.1:1/none"))


def test_the_first_start_with_a_bootstrap_key(tmp_path: Path) -> None:
    """As in a container: reachable by others, no database yet, and the key mounted as a file."""
    key, port = "c0ffee" * 8, free_port()
    (tmp_path / "key").write_text(f"{key}\n")
    environment = clean_environment(
        DSPT_DATA_DIR=str(tmp_path / "data"),
        DSPT_HOST="0.0.0.0",
        DSPT_PORT=str(port),
        DSPT_BOOTSTRAP_KEY_FILE=str(tmp_path / "key"),
    )
    url, log = f"http://127.0.0.1:{port}", tmp_path / "api.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(COMMAND, env=environment, stdout=file, stderr=file) as process,
    ):
        try:
            wait_until(lambda: answers(url, process, log), 120, "the API")
            assert httpx.get(f"{url}/jobs").status_code == 401
            command = [str(Path(sys.executable).with_name("dspt")), "jobs", "list", "--url", url]
            environment["DSPT_API_KEY_FILE"] = str(tmp_path / "key")
            listed = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            assert (listed.returncode, listed.stdout) == (0, "No jobs.\n"), listed.stderr
        finally:
            process.terminate()
            process.wait(120)
    assert key not in log.read_text()


def test_an_upload_without_a_valid_key_is_not_read(server: Server) -> None:
    """100 MB that come without waiting for an answer: it comes at once, and the line is cut."""
    size = 100 * 1024**2
    head = (
        f"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {size}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="dataset"; filename="a.zip"\r\n\r\n'
    )
    sent, chunk = 0, b"x" * 65536
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(head.encode())
        try:
            while sent < size:
                sent += line.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = line.recv(65536)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()
    assert sent < 16 * 1024**2  # what the two ends of a socket hold, and a little that is dropped
    assert not list(server.temporary.iterdir())
    assert not (server.data_dir / "storage" / "datasets").exists()


def test_a_client_that_only_writes_finds_the_answer(server: Server) -> None:
    for size in (1000, 1_000_000, 10_000_000):
        response = httpx.post(f"{server.url}/jobs", content=b"x" * size)
        assert response.status_code == 401
        assert response.json()["code"] == "key_missing"


def test_nothing_secret_is_logged(server: Server) -> None:
    headers = bearer(server.token) | {"Idempotency-Key": "idempotent-but-private"}
    archive = zip_of({"cat/photo-of-the-queen.png": b"x"})
    taken = httpx.post(
        f"{server.url}/jobs",
        files={"dataset": ("the-queens-photos.zip", archive)},
        data={"name": "project-x", "class_names": '{"cat": "her majesty"}'},
        headers=headers,
    )
    assert taken.status_code == 202, taken.text
    httpx.get(f"{server.url}/jobs?status=queued&limit=77", headers=headers)
    httpx.get(f"{server.url}/jobs", headers=bearer(server.token[:-1] + "z"))
    job_id = taken.json()["id"]
    wait_until(lambda: job_id in httpx.get(f"{server.url}/jobs", headers=headers).text, 120, "it")
    lines = server.log.read_text().splitlines()
    text = "\n".join(lines)
    for secret in (
        server.token.rpartition("_")[2][:-1],
        "Bearer",
        "queen",
        "majesty",
        "project-x",
        "idempotent-but",
        "limit=77",
    ):
        assert secret not in text
    requests = [json.loads(line) for line in lines if '"request"' in line]
    key_id = "key_" + server.token.split("_")[1]
    assert {request["key_id"] for request in requests} >= {key_id, None}
    assert {request["path"] for request in requests} >= {"/jobs", "/health/live"}


def test_no_secret_is_in_the_database(server: Server) -> None:
    secret = server.token.rpartition("_")[2].encode()
    files = [path for path in server.data_dir.rglob("*") if path.is_file()]
    assert server.data_dir / "dspt.db" in files
    assert not [path for path in files if secret in path.read_bytes()]


def test_the_address_of_this_machine_needs_a_key_too(server: Server) -> None:
    """Loopback opens nothing once there are keys."""
    assert httpx.get(f"{server.url}/jobs").status_code == 401
