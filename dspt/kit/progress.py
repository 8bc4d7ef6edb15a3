"""Progress of a job: stages, fraction done, remaining time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

Stage = Literal["validating", "encoding", "zero_shot", "tuning", "evaluating", "saving"]

# Share of a job at which each stage begins and ends.
_SPANS: dict[Stage, tuple[float, float]] = {
    "validating": (0.0, 0.05),
    "encoding": (0.05, 0.45),
    "zero_shot": (0.45, 0.46),
    "tuning": (0.46, 0.97),
    "evaluating": (0.97, 0.99),
    "saving": (0.99, 1.0),
}
_SPANS_WITHOUT_TUNING = _SPANS | {
    "encoding": (0.05, 0.9),
    "zero_shot": (0.9, 0.92),
    "evaluating": (0.92, 0.99),
}


@dataclass(frozen=True)
class Progress:
    """State of a running job."""

    stage: Stage
    epoch: int | None
    """Epochs done; None outside of tuning."""
    epochs: int | None
    fraction: float
    """Fraction of the whole job that is done, 0..1."""
    eta_seconds: float | None
    """Estimated seconds to the end; None at the start."""


class Listener:
    """Receives events of a running job. Override the methods you need."""

    def progress(self, progress: Progress) -> None:
        """Called often: several times a second on small data."""

    def metrics(self, metrics: dict[str, Any]) -> None:
        """Called once an epoch with epoch, loss (0..1), train_accuracy, suppressed and lr."""

    def warning(self, text: str) -> None:
        """Called with a message for the user; the job continues."""

    def encoded(self, new: int, known: int, shared: int) -> None:
        """Called for each batch of images with the number of views that were encoded, of views
        whose features were cached, and of views that another machine had encoded."""


class CompositeListener(Listener):
    """Forwards each event to two listeners, in order."""

    def __init__(self, first: Listener, second: Listener) -> None:
        self._listeners = first, second

    def progress(self, progress: Progress) -> None:
        for listener in self._listeners:
            listener.progress(progress)

    def metrics(self, metrics: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener.metrics(metrics)

    def warning(self, text: str) -> None:
        for listener in self._listeners:
            listener.warning(text)

    def encoded(self, new: int, known: int, shared: int) -> None:
        for listener in self._listeners:
            listener.encoded(new, known, shared)


class StageClock:
    """Converts steps of stages to Progress for a listener, and times the stages."""

    def __init__(self, listener: Listener, epochs: int) -> None:
        """epochs: of the tuning; 0 if no prompt is tuned."""
        self._listener, self._epochs = listener, epochs
        self._spans = _SPANS if epochs else _SPANS_WITHOUT_TUNING
        self._pace_since = self._stage_started = time.monotonic()
        self._stage: Stage | None = None
        self._first_fraction = 0.0
        self.seconds: dict[str, float] = {}
        """Seconds that each stage has taken so far."""

    def at(self, stage: Stage, done: float = 0, total: float = 1, epoch: int | None = None) -> None:
        """Report that `done` of `total` steps of `stage` are done."""
        now = time.monotonic()
        low, high = self._spans[stage]
        fraction = low + (high - low) * done / total
        if self._stage is not None:
            self.seconds[self._stage] = now - self._stage_started
        if stage != self._stage:
            # Tuning has a pace of its own: photos that were encoded before have taken no time.
            if self._stage is None or stage == "tuning":
                self._pace_since, self._first_fraction = now, fraction
            self._stage, self._stage_started = stage, now
        gone = fraction - self._first_fraction
        eta = (now - self._pace_since) * (1 - fraction) / gone if gone > 0 else None
        epochs = self._epochs if stage == "tuning" else None
        self._listener.progress(Progress(stage, epoch, epochs, fraction, eta))
