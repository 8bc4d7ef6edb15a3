"""Which workers have fallen silent, judged by this process's own steady clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Beat = TypeVar("Beat")


@dataclass
class _Heard(Generic[Beat]):
    beat: Beat
    silent_for: float


class HeartbeatMonitor(Generic[Beat]):
    """Notes when each name's beat last changed; the beat itself may be anything.

    No wall clock is compared with another, so clocks may differ between machines and jump. Time in
    which nobody looked counts only up to `longest_gap` seconds for each look: a machine that was
    asleep or swapping, which held up the workers on it too, must not take them all for dead.
    """

    def __init__(self, longest_gap: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_gap = longest_gap
        self._clock = clock
        self._looked = clock()
        self._heard: dict[str, _Heard[Beat]] = {}

    def update(self, beats: Iterable[tuple[str, Beat]]) -> dict[str, float]:
        """Take in the beats as they are now; name -> seconds since its beat last changed."""
        now = self._clock()
        passed = min(now - self._looked, self._longest_gap)
        self._looked = now
        heard: dict[str, _Heard[Beat]] = {}
        for name, beat in beats:
            before = self._heard.get(name)
            same = before is not None and before.beat == beat
            heard[name] = _Heard(beat, before.silent_for + passed if before and same else 0.0)
        self._heard = heard
        return {name: entry.silent_for for name, entry in heard.items()}
