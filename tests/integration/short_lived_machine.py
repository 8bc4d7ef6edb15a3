"""`dspt worker` on a machine that dies as soon as a checkpoint of its job is in the bucket."""

from __future__ import annotations

import os
import signal
from typing import Any

from dspt.cli import main as dspt
from worker import checkpoints


def main() -> None:
    send = checkpoints._Copies.send

    def send_and_die(copies: Any) -> None:
        send(copies)
        if copies._sent is not None:
            os.killpg(0, signal.SIGKILL)  # parent and forked process

    checkpoints._Copies.send = send_and_die  # type: ignore[method-assign]
    dspt()
