"""`dspt serve` as a user starts it: one process tree that is up as a whole or gone as a whole."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from app.serve.redis_program import find_redis
from tests.services import clean_environment, wait_until
from tests.warm import Warm

pytestmark = pytest.mark.skipif(
    not Path("/proc").is_dir(), reason="finds the processes of a tree through /proc"
)

COMMAND = [sys.executable, "-m", "app.cli", "serve"]


class Stack:
    """A `dspt serve` whose processes, wherever they end up, carry a mark in their environment."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        data_dir.parent.mkdir(exist_ok=True)
        self.log = data_dir.with_name("serve.log")
        self._mark = f"DSPT_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self.environment = clean_environment(**{name: value}, PYTHONUNBUFFERED="1")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--data-dir", str(data_dir), "--port", "0"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"API +(http://\S+)", self.said)
        assert found is not None, self.said
        return found[1]

    def up(self) -> bool:
        assert self.process.poll() is None, self.said
        return "Press Ctrl-C to stop." in self.said

    def processes(self) -> dict[int, str]:
        """Id -> command of every process of the tree that is not a zombie."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                marked = self._mark.encode() in (folder / "environ").read_bytes()
                # Redis writes its title over its environment, but works in its folder.
                if marked or (folder / "cwd").readlink() == self.data_dir / "redis":
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if command:
                        found[int(folder.name)] = command
            except OSError:  # it ended while we looked
                continue
        return found

    def pid_of(self, part: str) -> int:
        """The part's own process: the child of the supervisor, not the pool's."""
        [pid] = [
            pid
            for pid, command in self.processes().items()
            if part in command and _parent(pid) == self.process.pid
        ]
        return pid


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@contextmanager
def running(data_dir: Path) -> Iterator[Stack]:
    stack = Stack(data_dir)
    try:
        wait_until(stack.up, 120, "dspt serve")
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.process.terminate()
        stack.process.wait(120)
        wait_until(lambda: not stack.processes(), 120, f"the end of {stack.processes()}")


class Serve(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def serve(warm_start: Warm, tmp_path: Path) -> Serve:
    """A start that is expected to be refused."""

    def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        log = tmp_path / "refused.log"
        return warm_start.run(["serve", *arguments], clean_environment(**environment), log)

    return start


@pytest.mark.slow
def test_from_start_to_stop(tmp_path: Path, serve: Serve) -> None:
    data_dir = tmp_path / "data"
    with running(data_dir) as stack:
        commands = " | ".join(stack.processes().values())
        for part in ("app.cli api", "worker.cli", "redis-server", "app.serve.watchdog"):
            assert part in commands
        ready = httpx.get(f"{stack.url}/health/ready").json()
        assert ready["status"] == "ready"
        assert ready["checks"]["workers"]["count"] == 1
        assert stack.url.startswith("http://127.0.0.1:")
        for told in (
            f"{stack.url}/ui/",
            f"{stack.url}/docs",
            str(data_dir),
            str(data_dir / "logs"),
        ):
            assert told in stack.said

        # All state lies below the data directory, closed to other users.
        assert (data_dir / "dspt.db").read_bytes()[18:20] == b"\x02\x02"  # SQLite's mark of WAL
        program = find_redis()
        assert f"Queue: {program}." in stack.said
        folder = data_dir / "redis"
        assert (folder / program.append_file).exists() or (folder / "appendonlydir").exists()
        for private in (data_dir, folder / "redis.conf"):  # the latter may hold a password
            assert private.stat().st_mode & 0o077 == 0
        assert {p.name for p in (data_dir / "logs").iterdir()} == {
            "api.log",
            "redis.log",
            "worker.log",
        }

        second = serve("--data-dir", str(data_dir), "--port", "0")
        assert second.returncode == 1
        assert f"process {stack.process.pid}, {stack.url}" in second.stderr
        assert "already runs" in second.stderr
        assert httpx.get(f"{stack.url}/health/live").status_code == 200

        stack.process.send_signal(signal.SIGINT)
        assert stack.process.wait(120) == 0
        assert "DSPT has stopped." in stack.said
        assert not stack.processes()
    log = (data_dir / "logs" / "redis.log").read_text()
    assert "ready to exit" in log  # it was asked, not killed


@pytest.mark.slow
def test_nothing_outlives_a_killed_supervisor_nor_a_killed_part(tmp_path: Path) -> None:
    """The killed part is the worker; tests/unit/serve has the other parts."""
    data_dir = tmp_path / "data"
    with running(data_dir) as stack:
        before = set(stack.processes())
        assert len(before) >= 6  # supervisor, watchdog, Redis, API, worker and its pool process
        stack.process.kill()
        stack.process.wait(120)
        # At once: it waits until the watchdog has ended the parts of the one before.
        with running(data_dir) as second:
            assert not before & set(stack.processes())
            assert httpx.get(f"{second.url}/health/ready").status_code == 200
            os.kill(second.pid_of("worker.cli"), signal.SIGKILL)
            assert second.process.wait(300) == 1
            assert "The worker died (killed by signal 9)" in second.said
            assert str(data_dir / "logs" / "worker.log") in second.said
            wait_until(lambda: not second.processes(), 120, "the end of all")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_others_can_reach_is_refused(
    tmp_path: Path, serve: Serve, host: str
) -> None:
    result = serve("--data-dir", str(tmp_path / "data"), "--host", host)
    assert result.returncode == 1
    assert "dspt keys create" in result.stderr
    assert "127.0.0.1" in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken(tmp_path: Path, serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = serve("--data-dir", str(tmp_path / "data"), "--port", str(port))
    assert result.returncode == 1
    assert f"Port {port}" in result.stderr
    assert "--port" in result.stderr


@pytest.mark.parametrize("name", ["DSPT_DATABASE_URL", "DSPT_BROKER_URL", "DSPT_STORAGE_URL"])
def test_settings_of_outside_services_are_not_silently_ignored(
    tmp_path: Path, serve: Serve, name: str
) -> None:
    result = serve("--data-dir", str(tmp_path / "data"), **{name: "sqlite:////nowhere"})
    assert result.returncode == 1
    assert f"{name} is set" in result.stderr
    assert "dspt api" in result.stderr


def test_a_data_directory_that_cannot_be_made(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "file").write_text("")
    result = serve("--data-dir", str(tmp_path / "file" / "data"), "--port", "0")
    assert result.returncode == 1
    assert "--data-dir" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path, serve: Serve) -> None:
    result = serve("--data-dir", str(tmp_path / "data"), DSPT_PORT="many")
    assert result.returncode == 2
    assert "DSPT_PORT" in result.stderr
    assert "Traceback" not in result.stderr
