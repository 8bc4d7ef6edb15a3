"""`dspt` for a shell, forked from a process that has imported already what each command needs.

What is forked is an ordinary process otherwise: with the folder, environment and streams of the
shell, which gets its exit status. tests/acceptance/test_client_cli.py starts a command cold.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dspt.kit.cpus import THREAD_VARIABLES
from tests import warm

#: Printed before each file that `run_files` runs.
MARK = "\x1e"
#: What a shell calls: gives its arguments, folder, environment and streams to the server.
_CLIENT = """
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
order = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(line, [len(order).to_bytes(4, "big")], [0, 1, 2])
line.sendall(order)
sys.exit(int(line.makefile().readline()))
"""
#: Large, and independent of the environment of the process that imports them.
_IMPORTED = (
    "app.commands.datasets",
    "app.commands.jobs",
    "app.commands.models",
    "app.commands.predict",
    "dspt.cli.check",
    "dspt.estimator",
    "dspt.pipeline",
    "dspt.report.check",
)


@contextmanager
def forked_commands(folder: Path) -> Iterator[Path]:
    """Yield a folder for the PATH of a shell, with `dspt` and `run_files FILE.py ...`."""
    (folder / "client.py").write_text(_CLIENT)
    for name in ("dspt", "run_files"):
        call = f"""exec '{sys.executable}' -IS '{folder}/client.py' '{folder}/line' {name} "$@"\n"""
        (folder / name).write_text(f"#!/bin/sh\n{call}")
        (folder / name).chmod(0o755)
    with (
        socket.socket(socket.AF_UNIX) as line,
        subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.forked", str(line.fileno())],
            cwd=Path(__file__).parents[2],
            env=os.environ
            | dict.fromkeys(THREAD_VARIABLES, "1")
            | {"PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
            | {"COLUMNS": "100", "HF_HUB_OFFLINE": "1"},  # which are read when it imports
            stdin=subprocess.DEVNULL,
            pass_fds=[line.fileno()],
            start_new_session=True,
        ) as server,
    ):
        line.bind(str(folder / "line"))
        line.listen()
        try:
            yield folder
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # also what a shell has left behind


def _serve(line: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps those who wait for commands
    warm.prepare(_IMPORTED)
    while True:
        shell, _ = line.accept()
        with shell:
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _run(shell)


def _run(shell: socket.socket) -> None:
    """Run a command in a child, and tell the shell how it ended."""
    size, streams, _, _ = socket.recv_fds(shell, 4, 3)
    arguments, folder, environment = json.loads(
        shell.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    )
    pid = os.fork()
    if not pid:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        shell.close()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os._exit(_status(arguments))
    _, status = os.waitpid(pid, 0)
    shell.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _status(arguments: list[str]) -> int:
    """Run a command and return its exit status."""
    from dspt.cli import main

    sys.argv = arguments
    sys.path[0] = ""
    files = arguments[1:]
    status = warm.status_of(main if arguments[0] == "dspt" else lambda: _run_files(files))
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _run_files(files: list[str]) -> None:
    for file in files:
        sys.stdout.write(MARK)
        runpy.run_path(file, run_name="__main__")


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
