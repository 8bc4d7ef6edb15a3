"""One `dspt serve` per data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.serve import ServeError
from app.serve.lock import lock_data_dir

URL = "http://127.0.0.1:1"


def test_a_second_holder_gets_process_and_address_of_the_first(
    tmp_path: Path,
) -> None:
    path = tmp_path / "serve.lock"
    with (
        lock_data_dir(path, "http://127.0.0.1:1234"),
        pytest.raises(ServeError) as caught,
        lock_data_dir(path, URL),
    ):
        pass
    message = str(caught.value)
    assert f"process {os.getpid()}, http://127.0.0.1:1234" in message
    assert str(tmp_path) in message
    assert "--data-dir" in message


def test_the_lock_is_released_and_its_file_emptied(tmp_path: Path) -> None:
    path = tmp_path / "serve.lock"
    with lock_data_dir(path, URL):
        assert URL in path.read_text()
    assert path.read_text() == ""
    with lock_data_dir(path, URL):
        pass


def test_a_child_that_inherits_the_file_keeps_it_locked(tmp_path: Path) -> None:
    """As the watchdog does while it ends the parts of a supervisor that was killed."""
    path = tmp_path / "serve.lock"
    with lock_data_dir(path, URL) as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=[lock.fileno()],
        )
    with child:
        with pytest.raises(ServeError, match="Try again"), lock_data_dir(path, URL, patience=0):
            pass
        assert child.stdin is not None
        child.stdin.close()
        with lock_data_dir(path, URL, patience=10):  # waits until the child is gone
            pass


def test_waiting_for_the_children_of_a_dead_holder_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "serve.lock"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with lock_data_dir(path, URL) as lock:
        lock.truncate(0)
        lock.write(f"{gone.pid} {URL}")
        lock.flush()
        with pytest.raises(ServeError, match="Try again"), lock_data_dir(path, URL, patience=0.2):
            pass
