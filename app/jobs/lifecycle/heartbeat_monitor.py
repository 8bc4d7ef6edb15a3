"""Detect missing heartbeats by this process's own monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Beat = TypeVar("Beat")


@dataclass
class _Entry(Generic[Beat]):
    beat: Beat
    silent_for: float


class HeartbeatMonitor(Generic[Beat]):
    """Track how long ago each name's beat last changed; a beat may be any value.

    Wall clocks are never compared, so they may differ between machines and jump. The time between
    two updates counts as at most `longest_gap` seconds: after a machine was suspended or swapping,
    its workers, which were held up too, must not all be considered dead.
    """

    def __init__(self, longest_gap: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_gap = longest_gap
        self._clock = clock
        self._updated = clock()
        self._entries: dict[str, _Entry[Beat]] = {}

    def update(self, beats: Iterable[tuple[str, Beat]]) -> dict[str, float]:
        """Record the current beats; return name -> seconds since its beat last changed."""
        now = self._clock()
        passed = min(now - self._updated, self._longest_gap)
        self._updated = now
        entries: dict[str, _Entry[Beat]] = {}
        for name, beat in beats:
            before = self._entries.get(name)
            same = before is not None and before.beat == beat
            entries[name] = _Entry(beat, before.silent_for + passed if before and same else 0.0)
        self._entries = entries
        return {name: entry.silent_for for name, entry in entries.items()}
