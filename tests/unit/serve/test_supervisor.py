"""The supervisor with plain Python programs as parts: no process is left at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.serve import ServeError
from app.serve.part import Plan
from app.serve.supervisor import Supervisor, supervising
from tests.services import wait_until

FOREVER = "import signal, sys; print('up', flush=True); signal.pause()"


def plan(
    name: str, code: str, ready: Callable[[], bool] = lambda: True, patience: float = 10
) -> Plan:
    return Plan(name, [sys.executable, "-c", code], dict(os.environ), ready, patience)


def written(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and path.read_bytes().endswith(b"\n")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Fixture:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.messages: list[str] = []

    @contextmanager
    def running(self) -> Iterator[Supervisor]:
        with (
            (self.folder / "lock").open("w") as lock,
            supervising(self.folder, lock, self.messages.append) as supervisor,
        ):
            yield supervisor


@pytest.fixture
def stack(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def stop_soon() -> None:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()


def test_parts_are_started_watched_and_stopped(stack: Fixture) -> None:
    first, second = stack.folder / "first.log", stack.folder / "second.log"
    with stack.running() as supervisor:
        assert supervisor.start([plan("first", FOREVER, written(first))])
        assert supervisor.start([plan("second", FOREVER, written(second))])
        pids = [part.process.pid for part in supervisor._parts]
        assert all(alive(pid) for pid in pids)
        stop_soon()
        supervisor.watch()
    assert not any(alive(pid) for pid in pids)
    assert stack.messages == []


def test_a_part_that_dies_ends_all_and_the_error_shows_its_log(stack: Fixture) -> None:
    with stack.running() as supervisor:
        supervisor.start([plan("first", FOREVER)])
        pid = supervisor._parts[0].process.pid

        def start_and_watch() -> None:
            supervisor.start([plan("second", "import sys; print('oh no'); sys.exit(3)")])
            supervisor.watch()

        with pytest.raises(ServeError) as caught:
            start_and_watch()
    message = str(caught.value)
    assert "The second died (exit code 3)." in message
    assert "oh no" in message
    assert str(stack.folder / "second.log") in message
    assert not alive(pid)


def test_a_killed_part_is_detected_within_a_second(stack: Fixture) -> None:
    with stack.running() as supervisor:
        supervisor.start([plan("first", FOREVER)])
        os.kill(supervisor._parts[0].process.pid, signal.SIGKILL)
        begin = time.monotonic()
        with pytest.raises(ServeError, match=r"The first died \(killed by signal 9\)"):
            supervisor.watch()
        assert time.monotonic() - begin < 1


def test_a_part_that_is_not_ready_in_time_is_an_error(stack: Fixture) -> None:
    with stack.running() as supervisor:
        never = plan("first", FOREVER, lambda: False, patience=0.2)
        with pytest.raises(ServeError, match="not ready within 0 seconds"):
            supervisor.start([never])


def test_a_stop_request_during_the_start(stack: Fixture) -> None:
    with stack.running() as supervisor:
        stop_soon()
        assert not supervisor.start([plan("first", FOREVER, lambda: False)])


def test_the_children_of_a_killed_part_end(stack: Fixture) -> None:
    """As Celery's pool process does when its parent is killed."""
    log = stack.folder / "first.log"
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {FOREVER!r}])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    with stack.running() as supervisor:
        supervisor.start([plan("first", code, written(log))])
        child = int(log.read_text().split()[0])
        os.kill(supervisor._parts[0].process.pid, signal.SIGKILL)
        with pytest.raises(ServeError):
            supervisor.watch()
    wait_until(lambda: not alive(child), 120, "the end of the child")


def test_a_part_that_ignores_sigterm_is_killed(stack: Fixture) -> None:
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"
    log = stack.folder / "stubborn.log"
    with stack.running() as supervisor:
        supervisor.start([replace(plan("stubborn", code, written(log)), stop_seconds=0.2)])
        pid = supervisor._parts[0].process.pid
    assert not alive(pid)
    assert stack.messages == ["The stubborn has not stopped yet: killing it."]


def test_a_dead_watchdog_ends_all(stack: Fixture) -> None:
    with stack.running() as supervisor:
        supervisor.start([plan("first", FOREVER)])
        supervisor._watchdog.kill()
        with pytest.raises(ServeError, match="The watchdog died"):
            supervisor.watch()


def test_error_lines_are_shown_once(stack: Fixture) -> None:
    log = stack.folder / "first.log"
    code = (
        'import signal; print("INFO: fine"); print(\'{"level": "error", "event": "bad"}\');'
        'print("ERROR: worse", flush=True); signal.pause()'
    )

    def watched() -> None:
        wait_until(lambda: len(stack.messages) > 1, 60, "the errors")
        with log.open("a") as file:  # what is read again would come before it
            file.write("ERROR: last\n")
        wait_until(lambda: stack.messages[-1].endswith("last"), 60, "the last error")
        os.kill(os.getpid(), signal.SIGTERM)

    with stack.running() as supervisor, ThreadPoolExecutor(1) as thread:
        supervisor.start([plan("first", code, written(log))])
        ended = thread.submit(watched)
        supervisor.watch()
        ended.result()
    first = ['[first] {"level": "error", "event": "bad"}', "[first] ERROR: worse"]
    assert stack.messages == [*first, "[first] ERROR: last"]


KILLED = """
import os, sys, time
from pathlib import Path
from app.serve.part import Plan
from app.serve.supervisor import supervising
folder = Path(sys.argv[1])
code = sys.argv[2]
grace = float(sys.argv[3])
with (folder / "lock").open("w") as lock, supervising(folder, lock, print, grace) as supervisor:
    log = folder / "part.log"
    supervisor.start([Plan("part", [sys.executable, "-c", code], dict(os.environ),
                           lambda: log.read_bytes().endswith(b"\\n"), 30)])
    (folder / "pids").write_text(
        f"{supervisor._parts[0].process.pid} {supervisor._watchdog.pid}\\n")
    supervisor.watch()
"""


def killed(folder: Path, code: str, grace: float = 600) -> subprocess.Popen[bytes]:
    """A supervisor of one part, which the test kills."""
    return subprocess.Popen([sys.executable, "-c", KILLED, str(folder), code, str(grace)])


@pytest.mark.parametrize("handles_sigterm", [True, False])
def test_no_process_outlives_a_killed_supervisor(tmp_path: Path, handles_sigterm: bool) -> None:
    code, grace = FOREVER, 600.0  # longer than the test waits
    if not handles_sigterm:
        code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"
        grace = 0.2
    with killed(tmp_path, code, grace) as supervisor:
        wait_until(written(tmp_path / "pids"), 120, "the part")
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(alive(pid) for pid in pids)
        supervisor.kill()
    wait_until(lambda: not any(alive(pid) for pid in pids), 120, "the end of part and watchdog")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_part_ends_even_if_supervisor_and_watchdog_are_both_killed(tmp_path: Path) -> None:
    with killed(tmp_path, FOREVER) as supervisor:
        wait_until(written(tmp_path / "pids"), 120, "the part")
        part, watchdog = (int(pid) for pid in (tmp_path / "pids").read_text().split())
        os.kill(supervisor.pid, signal.SIGSTOP)  # so that it cannot react to the next line
        os.kill(watchdog, signal.SIGKILL)
        supervisor.kill()
    wait_until(lambda: not alive(part), 120, "the end of the part")
