"""A test run that is killed leaves no process and no temporary folder behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests import guard
from tests.services import children_of, clean_environment, wait_until

#: Two tests that start services and then wait to be killed, each in its own xdist worker.
RUN = """
import os, signal, subprocess, sys, tempfile
from pathlib import Path
from tests.services import redis_server, restartable_postgres

HERE = Path(__file__).parent

def ready(name):
    (HERE / f"{name}.new").write_text(f"{os.getpid()} {tempfile.gettempdir()}")
    (HERE / f"{name}.new").rename(HERE / name)
    while True:
        signal.pause()

def test_a():
    dspt = [Path(sys.executable).with_name("dspt"), "serve", "--port", "0"]
    elsewhere = os.environ | {"TMPDIR": str(HERE)}
    with redis_server(), restartable_postgres(), (HERE / "log").open("w") as log:
        command = [*dspt, "--data-dir", HERE / "data"]
        with subprocess.Popen(command, stdout=log, stderr=log, env=elsewhere):
            ready("a")

def test_b():
    with redis_server():
        ready("b")
"""


def descendants(pid: int) -> set[int]:
    found = set(children_of(pid))
    return found.union(*map(descendants, found))


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def running() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def command_of(pid: int) -> bytes:
    """The arguments of a process, each with a zero after it; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def servers(pid: int) -> list[str]:
    """The servers among the descendants of a process."""
    found = []
    for words in map(command_of, descendants(pid)):
        found += [n for n in ("redis-server", "postgres\0", "app.serve\0") if n.encode() in words]
    return sorted(found)


linux = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@linux
def test_this_test_run_is_guarded() -> None:
    """With the module that the next test tries out."""
    assert "tests.guarded" in sys.modules
    folder = os.environ["GUARDED_FOLDER"]
    assert folder == tempfile.gettempdir()
    mine = f"{guard.__file__}\0{os.getpid()}\0{folder}\0".encode()
    assert any(words.endswith(mine) for words in map(command_of, running()))


@linux
def test_a_killed_test_run_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "test_servers.py").write_text(RUN)
    environment = {k: v for k, v in clean_environment().items() if not k.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "tests.guarded", "-n", "2", "--timeout", "0"]
    with (tmp_path / "log.pytest").open("w") as log:
        run = subprocess.Popen(
            [*command, "-c", os.devnull, "--rootdir", tmp_path, tmp_path],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:

        def up(name: str) -> bool:
            assert run.poll() is None, (tmp_path / "log.pytest").read_text()
            return (tmp_path / name).exists()

        wait_until(lambda: up("a") and up("b"), 300, "the two tests")
        (one, folder), (other, _) = ((tmp_path / n).read_text().split() for n in ("a", "b"))
        wanted = ["app.serve\0", "postgres\0", "redis-server", "redis-server"]
        wait_until(lambda: servers(int(one)) == wanted, 300, f"{wanted}")
        started, others = descendants(int(one)), descendants(int(other))

        os.kill(int(one), 9)
        wait_until(lambda: not any(map(alive, started)), 120, "the end of the worker's processes")
        wait_until(lambda: not Path(folder).exists(), 120, "the end of its folder")
        assert servers(int(other)) == ["redis-server"]

        started = others | descendants(run.pid)
        run.kill()
        wait_until(lambda: not any(map(alive, started)), 120, "the end of the run's processes")
        wait_until(lambda: not Path(folder).parent.exists(), 120, "the end of its folder")
    finally:
        run.kill()
        run.wait()
