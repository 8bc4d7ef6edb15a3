"""One process of the tree."""

from __future__ import annotations

import os
import re
import subprocess  # only this program's own parts are started  # nosec B404
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

#: A log larger than this is renamed to `.1` at the next start.
_LOG_BYTES = 10 * 1024**2
_ERROR_LINE = re.compile(r'\b(ERROR|CRITICAL)\b|"level": ?"(error|critical)"')


@dataclass(frozen=True)
class Plan:
    """The command of a part, and the check that it is ready."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    """Called until it returns True; must return within a few seconds."""
    #: Redis reads a long file first; the API and the worker import large libraries.
    patience: float = 120.0
    """Seconds to become ready."""
    #: A job that needs longer is not lost: its lease expires, and the next start continues it.
    stop_seconds: float = 10.0
    """Seconds to stop before it is killed."""
    interrupts: bool = False
    """Ctrl-C reaches it as SIGINT; otherwise every stop is a SIGTERM."""
    nice: int = 0
    pass_fds: Sequence[int] = ()


class Part:
    """A part, started in the process group `group`."""

    def __init__(self, plan: Plan, log_path: Path | None, group: int) -> None:
        """`log_path`: gets its output. Default: the output of this process."""
        self.plan = plan
        self.name = plan.name
        self.log_path = log_path
        launch = [sys.executable, "-P", "-m", "app.serve.launch", str(os.getpid()), str(plan.nice)]
        with ExitStack() as stack:
            log = None if log_path is None else stack.enter_context(_opened(log_path))
            self._errors_read = 0 if log is None else log.tell()
            # No shell, and no part of the command comes from a request.
            self.process = subprocess.Popen(  # nosec B603
                [*launch, *plan.command],
                env=dict(plan.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=None if log is None else subprocess.STDOUT,
                pass_fds=tuple(plan.pass_fds),
                process_group=group,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def end_of_log(self) -> str:
        """Return the path and the last lines of its own log, for an error message."""
        if self.log_path is None:
            return ""
        with self.log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 64 * 1024))
            lines = log.read().decode(errors="replace").splitlines()[-15:]
        return "\n".join([f"The end of its log, {self.log_path}:", *(f"  {x}" for x in lines)])

    def new_errors(self) -> list[str]:
        """Return the error lines of its own log that were written since the last call."""
        if self.log_path is None:
            return []
        with self.log_path.open("rb") as log:
            log.seek(self._errors_read)
            text = log.read(1024**2)
        complete = text[: text.rfind(b"\n") + 1]
        self._errors_read += len(complete)
        lines = complete.decode(errors="replace").splitlines()
        return [line for line in lines if _ERROR_LINE.search(line)]


def _opened(log_path: Path) -> IO[bytes]:
    if log_path.exists() and log_path.stat().st_size > _LOG_BYTES:
        log_path.replace(log_path.with_name(log_path.name + ".1"))
    return log_path.open("ab")
