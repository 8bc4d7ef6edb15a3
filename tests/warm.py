"""`dspt` commands forked from a process that has imported torch already, which takes seconds.

What is forked is an ordinary process otherwise: with its own session, environment and log, to be
watched, stopped and killed as with `subprocess.Popen`. Tests of how a command starts start it cold.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from dspt.kit.cpus import THREAD_VARIABLES

#: Large, and independent of the environment of the process that imports them.
IMPORTED = (
    "dspt.pipeline",
    "dspt.model.predict",
    "dspt.backbones.builtin.loader",
    "app.main",
    "alembic.command",
    "celery.apps.worker",
    "kombu.transport.redis",
    "psycopg",
    "uvicorn",
)


class Forked:
    """A running command; what tests use of `subprocess.Popen[bytes]`."""

    def __init__(self, arguments: Sequence[str], told: IO[bytes]) -> None:
        """`told`: gives the process's id, and its exit status once it has ended."""
        self._arguments, self._told = arguments, told
        self.returncode: int | None = None
        self.pid = int(told.readline())

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(list(self._arguments), timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], seconds)[0]:
            with self._told:
                self.returncode = int(self._told.readline())
        return self.returncode


class Warm:
    """Forks commands, for as long as `warm` has it open."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def dspt(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        module: str = "dspt.cli",
    ) -> Forked:
        """`dspt ARGUMENTS`; what it says is appended to `log`.

        `module`: its `main` is called, which may prepare something before the command.
        """
        fields = {
            "arguments": arguments,
            "environment": dict(environment),
            "module": module,
        }
        order = json.dumps(fields).encode()
        reading, writing = os.pipe()
        with log.open("ab") as output:
            size = len(order).to_bytes(4, "big")
            socket.send_fds(self._line, [size], [output.fileno(), writing])
            self._line.sendall(order)
        os.close(writing)
        return Forked(arguments, os.fdopen(reading, "rb", buffering=0))

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> subprocess.CompletedProcess[str]:
        """`dspt ARGUMENTS` to its end; both streams are what it says, in `log`."""
        log.unlink(missing_ok=True)
        status = self.dspt(arguments, environment, log).wait(300)
        said = log.read_text()
        return subprocess.CompletedProcess(list(arguments), status, said, said)


@contextmanager
def warm() -> Iterator[Warm]:
    """Starts the process; it has imported all by the time that it forks the first command."""
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
            cwd=Path(__file__).parents[1],
            env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1") | {"PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        ) as process,
    ):
        theirs.close()
        yield Warm(ours)
        ours.close()
        process.wait(120)


def prepare(modules: Iterable[str]) -> None:
    """Import torch, `modules` and the built-in backbone; what this process forks shares them."""
    from dspt.kit.light_torch import import_light

    gc.disable()
    import_light()
    from dspt.backbones.tokenizer import OpenClipTokenizer

    for name in modules:
        __import__(name)
    OpenClipTokenizer()  # reads the vocabulary, which the commands then share
    _share_builtin()
    gc.freeze()  # so that memory stays shared
    gc.enable()


def status_of(command: Callable[[], object]) -> int:
    """Run a command and return its exit status; its error is told as Python tells it."""
    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201
            return 1
        return end.code or 0
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _serve(line: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, _reap)
    prepare(IMPORTED)
    while True:
        size, handles, _, _ = socket.recv_fds(line, 4, 2)
        if not size:
            os._exit(0)  # to take all down in order takes another second
        order = json.loads(line.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        if not os.fork():
            line.close()
            _keep(order["arguments"], order["environment"], order["module"], *handles)
        for handle in handles:
            os.close(handle)


def _share_builtin() -> None:
    """Read the weights of the built-in backbone once: a quarter of the work of a small job."""
    import torch

    from dspt.backbones import builtin

    assert torch.get_num_threads() == 1  # more would not be in a fork, which waits for them
    read, shared = builtin.load_builtin, builtin.load_builtin()

    def load_builtin(device: Any = "cpu", **more: Any) -> Any:
        return read(device, **more) if more or str(device) != "cpu" else shared

    builtin.load_builtin = load_builtin


def _reap(*_: object) -> None:
    """Of keepers whose commands have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep(
    arguments: Sequence[str], environment: Mapping[str, str], module: str, log: int, telling: int
) -> None:
    """The command's parent: says its id, waits for its end and says how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if not pid:
        os.close(telling)
        _become(arguments, environment, module, log)
    os.close(log)
    os.write(telling, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(telling, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], module: str, log: int
) -> None:
    os.setsid()
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["dspt", *arguments]
    status = status_of(lambda: import_module(module).main())
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
