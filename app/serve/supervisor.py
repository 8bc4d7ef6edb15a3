"""Starts the parts in order, watches them, stops them."""

from __future__ import annotations

import os
import signal
import subprocess  # only this program's own parts are started  # nosec B404
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO

from app.serve import ServeError
from app.serve.part import Part, Plan
from app.serve.signals import StopSignals, stop_signals
from app.serve.watchdog import GRACE_SECONDS

_POLL_SECONDS = 0.05


class Supervisor:
    """Keeps the parts of one stack together: all of them run, or none."""

    def __init__(
        self,
        log_dir: Path | None,
        say: Callable[[str], None],
        watchdog: subprocess.Popen[bytes],
        stops: StopSignals,
    ) -> None:
        self._log_dir = log_dir
        self._say = say
        self._watchdog = watchdog
        self._stops = stops
        self._groups: list[list[Part]] = []
        """Parts that were started at the same time."""

    def start(self, plans: Sequence[Plan]) -> bool:
        """Start parts at the same time and wait for each; False if a stop was requested.

        Raises ServeError if a part dies or is not ready in time.
        """
        self._check()
        begin = time.monotonic()
        group: list[Part] = []
        self._groups.append(group)  # what has been started is stopped even if the next one fails
        for plan in plans:
            log_path = self._log_dir and self._log_dir / f"{plan.name}.log"
            group.append(Part(plan, log_path, self._watchdog.pid))
        for part in group:
            while not part.plan.ready():
                if self._stops.count:
                    return False
                self._check()
                patience = part.plan.patience
                if time.monotonic() > begin + patience:
                    raise ServeError(
                        f"The {part.name} was not ready within {patience:.0f} seconds.\n"
                        f"{part.end_of_log()}".rstrip()
                    )
                time.sleep(_POLL_SECONDS)
        self._check()
        return True

    def watch(self) -> None:
        """Wait until a stop is requested. Raises ServeError if a part dies."""
        while not self._stops.count:
            self._check()
            for part in self._parts:
                for line in part.new_errors():
                    self._say(f"[{part.name}] {line}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End the parts, those that were started last first: they use the others."""
        for group in reversed(self._groups):
            self._end(group)
        # The watchdog, and processes that the parts left behind.
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM if all are zombies
            os.killpg(self._watchdog.pid, signal.SIGKILL)

    def _end(self, parts: Sequence[Part]) -> None:
        for part in parts:
            interrupt = self._stops.interrupted and part.plan.interrupts
            part.process.send_signal(signal.SIGINT if interrupt else signal.SIGTERM)
        start, requests = time.monotonic(), self._stops.count
        for part in parts:
            deadline = start + part.plan.stop_seconds
            while part.running and time.monotonic() < deadline and self._stops.count == requests:
                time.sleep(_POLL_SECONDS)
            if part.running:
                self._say(f"The {part.name} has not stopped yet: killing it.")
                part.process.kill()
            part.process.wait()

    @property
    def _parts(self) -> list[Part]:
        return list(chain.from_iterable(self._groups))

    def _check(self) -> None:
        if (code := self._watchdog.poll()) is not None:
            raise ServeError(f"The watchdog died ({_describe(code)}).")
        for part in self._parts:
            if (code := part.process.poll()) is not None:
                raise ServeError(
                    f"The {part.name} died ({_describe(code)}).\n{part.end_of_log()}".rstrip()
                )


@contextmanager
def supervising(
    log_dir: Path | None,
    lock: IO[str] | None,
    say: Callable[[str], None],
    grace: float = GRACE_SECONDS,
) -> Iterator[Supervisor]:
    """Yield a supervisor; its parts are stopped at the end of the block, however it ends.

    log_dir: for a log of each part; None: they write where this process does. The watchdog
    inherits `lock`, so that the file stays locked until all parts have ended. grace: seconds that
    they have if this process is killed.
    """
    command = [sys.executable, "-P", "-m", "app.serve.watchdog", str(grace)]
    kept = [] if lock is None else [lock.fileno()]
    with (
        stop_signals() as stops,
        subprocess.Popen(  # a fixed command  # nosec B603
            command, stdin=subprocess.PIPE, pass_fds=kept, process_group=0
        ) as watchdog,
    ):
        supervisor = Supervisor(log_dir, say, watchdog, stops)
        try:
            yield supervisor
        finally:
            supervisor.stop()


def _describe(code: int) -> str:
    """Return an exit code in words."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
