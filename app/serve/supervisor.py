"""Starts the parts in order, watches them, stops them."""

from __future__ import annotations

import signal
import subprocess  # only this program's own parts are started  # nosec B404
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.serve.errors import PartFailed
from app.serve.part import Part, Plan, how_it_ended
from app.serve.signals import Waker, waking_on_signals

#: A stop lets requests and a job's current step finish for this long. A job that needs longer is
#: not lost: its lease runs out and the next start takes it up again.
STOP_SECONDS = 10.0
#: Between two looks at a condition; deaths and signals are noticed at once.
_LOOK_SECONDS = 0.05
_ERRORS_SECONDS = 1.0


class Supervisor:
    """Keeps the parts of one stack together: all of them run, or none."""

    def __init__(self, log_dir: Path, say: Callable[[str], None], waker: Waker) -> None:
        self._log_dir = log_dir
        self._say = say
        self._waker = waker
        self._parts: list[Part] = []
        self._watchdog: subprocess.Popen[str] | None = None

    def start(self, plans: Sequence[Plan]) -> bool:
        """Start parts side by side and wait for each; False if a stop was asked for meanwhile.

        Raises PartFailed if one dies or is not ready in time.
        """
        started = []
        for plan in plans:
            part = Part(plan, self._log_dir / f"{plan.name}.log")
            self._parts.append(part)
            self._tell_watchdog("+", part)
            started.append((part, time.monotonic() + plan.patience))
        for part, deadline in started:
            while not part.plan.ready():
                if self._waker.stop_requests:
                    return False
                self._check()
                if time.monotonic() > deadline:
                    raise PartFailed(
                        f"The {part.name} was not ready within {part.plan.patience:.0f} seconds."
                        + _end_of_log(part)
                    )
                self._waker.wait(_LOOK_SECONDS)
        self._check()
        return True

    def watch(self) -> None:
        """Return when a stop is asked for; raises PartFailed when a part dies."""
        while not self._waker.stop_requests:
            self._check()
            self._show_errors()
            self._waker.wait(_ERRORS_SECONDS)

    def stop(self) -> None:
        """End the parts: first those that use the broker, then the broker, which started first."""
        requests = self._waker.stop_requests
        for parts in (self._parts[1:], self._parts[:1]):
            for part in parts:
                if part.exit_code is None:
                    part.signal(signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            hurry = False
            while any(part.exit_code is None for part in parts) and not hurry:
                self._waker.wait(_LOOK_SECONDS)
                hurry = time.monotonic() > deadline or self._waker.stop_requests > requests
            requests = self._waker.stop_requests  # whoever asks again means these parts
            for part in parts:
                if part.exit_code is None:
                    self._say(f"The {part.name} has not stopped yet; it is ended by force.")
                part.signal_group(signal.SIGKILL)  # with whatever it may have left behind
                while part.exit_code is None:
                    self._waker.wait(_LOOK_SECONDS)
                self._tell_watchdog("-", part)

    @contextmanager
    def watched_over(self, lock: IO[str]) -> Iterator[None]:
        """Run the watchdog for the length of the block; it holds `lock` as long as it lives."""
        command = [sys.executable, "-P", "-m", "app.serve.watchdog"]
        with subprocess.Popen(  # all of the command stands above  # nosec B603
            command,
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            pass_fds=[lock.fileno()],
            process_group=0,
        ) as self._watchdog:
            try:
                yield
            finally:
                self._watchdog = None  # leaving Popen's block closes the pipe and waits

    def _tell_watchdog(self, change: str, part: Part) -> None:
        if self._watchdog is None or self._watchdog.poll() is not None:
            return
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{change}{part.pid}\n")

    def _check(self) -> None:
        if self._watchdog is not None and (code := self._watchdog.poll()) is not None:
            raise PartFailed(f"The watchdog died ({how_it_ended(code)}).")
        for part in self._parts:
            if (code := part.exit_code) is not None:
                raise PartFailed(f"The {part.name} died ({how_it_ended(code)}).{_end_of_log(part)}")

    def _show_errors(self) -> None:
        for part in self._parts:
            for line in part.new_errors():
                self._say(f"[{part.name}] {line}")


@contextmanager
def supervising(log_dir: Path, lock: IO[str], say: Callable[[str], None]) -> Iterator[Supervisor]:
    """A supervisor whose parts are stopped at the end of the block, however it ends."""
    with waking_on_signals() as waker:
        supervisor = Supervisor(log_dir, say, waker)
        with supervisor.watched_over(lock):
            try:
                yield supervisor
            finally:
                supervisor.stop()


def _end_of_log(part: Part) -> str:
    lines = "\n".join(f"  {line}" for line in part.last_lines())
    return f"\nThe end of its log, {part.log_path}:\n{lines}"
