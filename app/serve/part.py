"""One process of the tree: started in its own process group, logged to its own file."""

from __future__ import annotations

import os
import re
import subprocess  # only this program's own parts are started  # nosec B404
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.serve.watchdog import send

#: A log that has grown past this is set aside (`.1`) at the next start.
_LOG_BYTES = 10 * 1024**2
_ERROR_LINE = re.compile(r'\b(ERROR|CRITICAL)\b|"level": ?"(error|critical)"')


@dataclass(frozen=True)
class Plan:
    """What to start and how to know that it is up."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    """Asked again and again until it says yes; must return within a second or two."""
    patience: float
    """Seconds after which a part that is not ready is given up."""
    nice: int = 0
    pass_fds: Sequence[int] = field(default=())


class Part:
    """A started process."""

    def __init__(self, plan: Plan, log_path: Path) -> None:
        self.plan = plan
        self.name = plan.name
        self.log_path = log_path
        _set_aside(log_path)
        with log_path.open("ab") as log:
            self._shown = log.tell()
            # A list, so no shell; all of it was put together here, nothing came in a request.
            self._process = subprocess.Popen(  # nosec B603
                [
                    *(
                        sys.executable,
                        "-P",
                        "-m",
                        "app.serve.launch",
                        str(os.getpid()),
                        str(plan.nice),
                    ),
                    *plan.command,
                ],
                env=dict(plan.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(plan.pass_fds),
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """The process's id and that of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Signal the process itself; Celery passes it on to its pool as it sees fit."""
        self._process.send_signal(number)

    def signal_group(self, number: int) -> bool:
        """Signal the process and all that it started; says whether any of them exists."""
        return send(self.pid, number)

    def last_lines(self, count: int = 15) -> list[str]:
        """The end of its log."""
        with self.log_path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 64 * 1024))
            return log.read().decode(errors="replace").splitlines()[-count:]

    def new_errors(self) -> list[str]:
        """Error lines written since the last call."""
        with self.log_path.open("rb") as log:
            log.seek(self._shown)
            text = log.read(1024**2)
        complete = text[: text.rfind(b"\n") + 1]
        self._shown += len(complete)
        lines = complete.decode(errors="replace").splitlines()
        return [line for line in lines if _ERROR_LINE.search(line)]


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _set_aside(path: Path) -> None:
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
