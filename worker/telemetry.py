"""Metrics and trace spans of running jobs, batches and comparisons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer, use_span

from app.kit.tracing import Tracing, context_of
from app.tables.leased import Leased
from dspt.kit.progress import Listener, Progress
from worker.stats import NullStats, WorkerStats


class Attempt(Listener):
    """One attempt at a leased row; a job is measured by stage and epoch."""

    def __init__(self, stats: WorkerStats, tracer: Tracer) -> None:
        self._stats, self._tracer = stats, tracer
        #: Outcome; set before the end unless the database became unavailable.
        self.outcome = "abandoned"
        self._stage = ""
        self._stage_span: Span | None = None
        self._stage_began = self._epoch_began = 0.0

    def progress(self, progress: Progress) -> None:
        if progress.stage == self._stage:
            return
        self.end_stage()
        self._stage = progress.stage
        self._stage_span = self._tracer.start_span(progress.stage)
        self._stage_began = self._epoch_began = time.monotonic()

    def metrics(self, metrics: dict[str, Any]) -> None:
        now = time.monotonic()
        self._stats.send("epoch_seconds", now - self._epoch_began)
        self._epoch_began = now
        self._stats.send("suppressed_share", metrics["suppressed"])
        import torch  # here, because the parent process imports this file

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            self._stats.send("gpu_bytes", torch.cuda.memory_allocated())

    def encoded(self, new: int, known: int, shared: int) -> None:
        for source, count in (("tower", new), ("store", known), ("storage", shared)):
            if count:
                self._stats.send("views", count, source=source)

    def classified(self, images: int) -> None:
        """Count images of a batch or a comparison."""
        self._stats.send("images", images)

    def end_stage(self) -> None:
        if self._stage_span is not None:
            seconds = time.monotonic() - self._stage_began
            self._stats.send("stage_seconds", seconds, stage=self._stage)
            self._stage_span.end()
            self._stage_span = None


class Telemetry:
    """The sinks of metrics and spans. One per process."""

    def __init__(self, stats: WorkerStats | None = None, tracing: Tracing | None = None) -> None:
        self._stats, self._tracing = stats or NullStats(), tracing

    @contextmanager
    def attempt(self, noun: str, row: Leased) -> Iterator[Attempt]:
        """Measure the block as an attempt at `row`, in the trace of the request that created it."""
        tracer = NoOpTracer() if self._tracing is None else self._tracing.tracer
        self._stats.send("attempts")
        self._stats.send("at_work", 1, noun=noun)
        span = tracer.start_span(
            noun,
            context_of(row.traceparent),
            SpanKind.CONSUMER,
            {f"dspt.{noun}.id": row.id, f"dspt.{noun}.attempt": row.attempt},
        )
        attempt = Attempt(self._stats, tracer)
        with use_span(span, end_on_exit=True):
            try:
                yield attempt
            finally:
                attempt.end_stage()
                span.set_attribute(f"dspt.{noun}.outcome", attempt.outcome)
                if attempt.outcome in ("failed", "abandoned"):
                    span.set_status(Status(StatusCode.ERROR))
                self._stats.send(noun, outcome=attempt.outcome)
                self._stats.send("at_work", 0, noun=noun)
        if self._tracing is not None:
            self._tracing.flush()
