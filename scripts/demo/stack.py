"""Run `dspt serve` as a child process for the duration of a `with` block."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.access import local_user

#: Longer than the stack allows its own parts to stop.
_STOP_SECONDS = 30.0
_READY = re.compile(r"^\s*API\s+(http://\S+)")


class StackError(Exception):
    """The stack did not start. The message is its output."""


@contextmanager
def running_stack(
    data_dir: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Start `dspt serve` on a free port, yield its address, stop it at the end of the block.

    Its output goes to `log`. `environment` is added to this process's own. Raises StackError.
    """
    command = [str(Path(sys.executable).with_name("dspt")), "serve"]
    command += ["--data-dir", str(data_dir), "--port", "0"]
    if not local_user.available():
        command.append("--no-auth")
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            process_group=0,  # Ctrl-C reaches only this process; leaving the block stops the stack
        ) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            _stop(process)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the stack is ready and prints its address."""
    while True:
        ended = _ended(process, within=0.1)
        output = log.read_text()
        for line in output.splitlines():
            if found := _READY.match(line):
                return found[1]
        if ended:
            raise StackError(f"`dspt serve` ended with exit code {process.returncode}:\n{output}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
        if _ended(process, within=_STOP_SECONDS):
            return


def _ended(process: subprocess.Popen[bytes], within: float) -> bool:
    try:
        process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        return False
    return True
