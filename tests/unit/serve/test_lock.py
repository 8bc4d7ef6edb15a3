"""One `dspt serve` per data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.serve.errors import AlreadyRunning
from app.serve.lock import Holder, lock_data_dir


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "serve.lock"
    with lock_data_dir(path) as lock:
        lock.describe(Holder(os.getpid(), "http://127.0.0.1:1234"))
        with pytest.raises(AlreadyRunning) as caught, lock_data_dir(path):
            pass
    message = str(caught.value)
    assert f"process {os.getpid()}, http://127.0.0.1:1234" in message
    assert str(tmp_path) in message
    assert "--data-dir" in message


def test_it_can_be_taken_again_and_forgets_the_last_holder(tmp_path: Path) -> None:
    path = tmp_path / "serve.lock"
    with lock_data_dir(path) as lock:
        lock.describe(Holder(os.getpid(), "http://127.0.0.1:1"))
    assert path.read_text() == ""
    with lock_data_dir(path):
        pass


def test_a_child_that_inherits_it_keeps_it(tmp_path: Path) -> None:
    """As the watchdog does while it ends the parts of a supervisor that was killed."""
    path = tmp_path / "serve.lock"
    with lock_data_dir(path) as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=[lock.file.fileno()],
        )
    with child:
        with pytest.raises(AlreadyRunning, match="try again"), lock_data_dir(path, patience=0):
            pass
        assert child.stdin is not None
        child.stdin.close()
        with lock_data_dir(path, patience=10):  # waits until the child is gone
            pass


def test_a_dead_holder_is_waited_for_only_so_long(tmp_path: Path) -> None:
    path = tmp_path / "serve.lock"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with lock_data_dir(path) as lock:
        lock.describe(Holder(gone.pid, "http://127.0.0.1:1"))
        with pytest.raises(AlreadyRunning, match="try again"), lock_data_dir(path, patience=0.2):
            pass
