"""A `dspt` command in a process of its own that can be stopped, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.services import children_of
from tests.warm import Forked

#: More than a worker needs to return its job, and the API to close its event streams.
_STOP_SECONDS = 30.0


class Part:
    """`dspt COMMAND`; its output is appended to `log`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._arguments, self._environment = arguments, environment
        self._process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes] | Forked:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(Path(sys.executable).with_name("dspt")), *self._arguments],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def terminate(self) -> None:
        """Send SIGTERM; returns at once."""
        assert self._process is not None
        self._process.terminate()

    def wait(self) -> int:
        """Wait for its end; return the exit status. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(_STOP_SECONDS)

    def kill(self, *, with_children: bool = True) -> None:
        """Send SIGKILL to the process, and to its children."""
        assert self._process is not None
        if with_children:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait(_STOP_SECONDS)

    def kill_children(self) -> list[int]:
        """Send SIGKILL to its children; return their ids."""
        children = self.children()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return children

    def children(self) -> list[int]:
        return children_of(self._process.pid) if self._process is not None else []
