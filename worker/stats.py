"""A pipe for metrics from the forked process, which runs jobs, to its parent.

A write of up to 4 KiB (PIPE_BUF) is atomic, so a killed process leaves neither a partial message
nor a lock behind, and the parent keeps its counts. prometheus_client's multiprocess files would
have to be configured before its import and cleaned up after each death.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress

Stat = tuple[str, float, dict[str, str]]
"""Name of a metric of worker.metrics, value, labels."""


class WorkerStats:
    """Created before the fork; the child sends, the parent receives."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        # If the parent hangs, jobs continue and metrics that do not fit are dropped.
        os.set_blocking(self._write_end, False)

    def send(self, name: str, value: float = 1, **labels: str) -> None:
        """Send a value: to add, observe or set, depending on the metric."""
        message = json.dumps([name, value, labels]).encode() + b"\n"
        with suppress(BlockingIOError):
            os.write(self._write_end, message)

    def received(self) -> Iterator[Stat]:
        """Yield values as they arrive, forever."""
        with os.fdopen(self._read_end, "rb", closefd=False) as lines:
            for line in lines:
                name, value, labels = json.loads(line)
                yield name, value, labels


class NullStats(WorkerStats):
    """Drops all values, if metrics are disabled."""

    def __init__(self) -> None:
        """Open no pipe."""

    def send(self, name: str, value: float = 1, **labels: str) -> None:
        """Do nothing."""
