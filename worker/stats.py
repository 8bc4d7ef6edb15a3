"""How the forked process, which does the work, tells its parent the stats for Prometheus.

Through a pipe: a write of up to 4 KiB (PIPE_BUF) goes through whole or not at all, so a process
that is killed leaves neither half a message nor a lock behind, and the parent, which only adds up,
keeps what the dead one had counted. Files in shared memory, prometheus_client's own way, would have
to be laid out before its import and swept up after each death.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress

Stat = tuple[str, float, dict[str, str]]
"""Name of a metric of worker.metrics, value, labels."""


class WorkerStats:
    """Made before the fork; one side sends, the other one reads."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        # If the parent hangs, jobs go on, and what finds no room is not counted.
        os.set_blocking(self._write_end, False)

    def send(self, name: str, value: float = 1, **labels: str) -> None:
        """Count, observe or set: as befits the metric."""
        message = json.dumps([name, value, labels]).encode() + b"\n"
        with suppress(BlockingIOError):
            os.write(self._write_end, message)

    def received(self) -> Iterator[Stat]:
        """What is sent, as it comes; never ends."""
        with os.fdopen(self._read_end, "rb", closefd=False) as lines:
            for line in lines:
                name, value, labels = json.loads(line)
                yield name, value, labels


class NullStats(WorkerStats):
    """Where nobody asks for stats."""

    def __init__(self) -> None:
        """No pipe."""

    def send(self, name: str, value: float = 1, **labels: str) -> None:
        """Nothing."""
