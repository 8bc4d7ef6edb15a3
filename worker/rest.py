"""End the forked process, and with it the memory of torch, some time after its last job."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
from billiard.pool import EX_RECYCLE

from dspt.kit.memory import trim

_log = structlog.get_logger(__name__)


@contextmanager
def rest_after(seconds: float) -> Iterator[None]:
    """Run the block; end this process if no further block begins within `seconds`.

    After the block, free memory is given back to the system. Only a process that has torch ends.
    Celery's pool then forks a small one, as it does after `worker_max_tasks_per_child` tasks. Main
    thread only. A message that arrives at that very moment goes back to the broker, because it is
    not acknowledged yet.
    """
    signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        if "torch" in sys.modules:
            gc.collect()
            # Mostly modules, which live as long as this process: to examine them after each job
            # would take a third of a second.
            gc.freeze()
            trim()
            signal.signal(signal.SIGALRM, _end)
            signal.setitimer(signal.ITIMER_REAL, seconds)


def _end(_number: int, _frame: FrameType | None) -> None:
    _log.info("resting: the next job imports torch again")
    sys.exit(EX_RECYCLE)  # not an error to the pool
