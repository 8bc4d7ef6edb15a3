"""Real processes that raise, die and are interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pool_jobs import Number, Squares

from benchmarks.skeleton.child import run_jobs

INTERRUPTED = 130
ENDLESS = [Number(n, "wait") for n in range(4)]


class Outcome:
    def __init__(self) -> None:
        self.done: dict[int, dict[str, Any]] = {}
        self.failed: dict[int, str] = {}

    def finish(self, number: Number, result: dict[str, Any]) -> None:
        self.done[number.value] = result

    def fail(self, number: Number, message: str) -> None:
        self.failed[number.value] = message.splitlines()[-1]


def test_a_job_that_raises_or_kills_its_process_fails_alone() -> None:
    jobs = [Number(0, "die"), Number(1), Number(2, "raise"), Number(3), Number(4)]
    found = Outcome()
    run_jobs(jobs, Squares, 2, done=found.finish, failed=found.fail)
    assert {value: result["square"] for value, result in found.done.items()} == {1: 1, 3: 9, 4: 16}
    assert os.getpid() not in {result["process"] for result in found.done.values()}
    assert found.failed == {
        0: "job: its process ended with exit status 9 (-9: out of memory)",
        2: "IndexError: 2",
    }
    assert multiprocessing.active_children() == []


def test_a_job_whose_process_dies_runs_once_more_when_the_others_have_ended(tmp_path: Path) -> None:
    found = Outcome()
    jobs = [Number(2, "die once", tmp_path / "died"), Number(3), Number(4)]
    run_jobs(jobs, Squares, 2, done=found.finish, failed=found.fail)
    assert [result["square"] for result in found.done.values()][-1] == 4
    assert sorted(found.done) == [2, 3, 4]
    assert found.failed == {}


def test_a_budget_that_is_spent_lets_running_jobs_finish() -> None:
    found = Outcome()
    jobs = [Number(n) for n in range(6)]
    run_jobs(
        jobs,
        Squares,
        2,
        done=found.finish,
        failed=found.fail,
        may_start=lambda: len(found.done) < 1,
    )
    assert 1 <= len(found.done) <= 3  # two were running when the first one ended
    assert found.failed == {}
    assert multiprocessing.active_children() == []


def test_an_error_in_this_process_stops_the_others_at_once() -> None:
    jobs = [ENDLESS[0], Number(1, "raise"), *ENDLESS[2:]]

    def fail(number: Number, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, Squares, 2, done=Outcome().finish, failed=fail)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("how", ["the parent is killed", "Ctrl-C"])
def test_processes_end_with_their_parent(how: str) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=_run_for_ever)
    parent.start()
    assert parent.pid is not None
    deadline = time.monotonic() + 120
    while len(children := _children(parent.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    if how == "Ctrl-C":  # a terminal sends it to the whole group
        os.killpg(parent.pid, signal.SIGINT)
    else:
        os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline, "processes outlived their parent"
        time.sleep(0.2)
    assert parent.exitcode == (INTERRUPTED if how == "Ctrl-C" else -signal.SIGKILL)


def _run_for_ever() -> None:
    os.setsid()
    # Where the tests run in the background SIGINT is ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = Outcome()
    try:
        run_jobs(ENDLESS, Squares, 2, done=found.finish, failed=found.fail)
    except KeyboardInterrupt:
        sys.exit(1 if found.failed else INTERRUPTED)


def _children(pid: int) -> list[int]:
    """Processes started by `pid` that run jobs (not multiprocessing's own resource tracker)."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs /proc")
    found = map(int, path.read_text().split())
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
