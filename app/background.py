"""The work of an API process besides requests: loops, and metrics of the whole installation.

Of all processes of an installation, the leader does it, except what belongs to one machine.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from app.batches.repository import BATCHES
from app.comparisons.repository import COMPARISONS
from app.gc.collector import Collector
from app.jobs.lifecycle.housekeeping import Housekeeper
from app.jobs.metrics import JobsCollector
from app.jobs.repository import JOBS
from app.kit.background_loop import Loop, LoopsCollector, stop_all
from app.kit.context import Context
from app.kit.leader import Leader
from app.models.metrics import DriftCollector
from app.webhooks.sender import WebhookSender


class Background:
    """One per process. One that only makes predictions just deletes what is on its own disk."""

    def __init__(self, context: Context) -> None:
        self.housekeeper = Housekeeper(context, JOBS, BATCHES, COMPARISONS)
        self.webhook_sender = WebhookSender(context)
        self._collector = Collector(context)
        work = [*self.housekeeper.loops, self.webhook_sender.loop, self._collector.loop]
        self._leader = Leader(context.database, work, context.settings.housekeeping_seconds)
        self._figures = JobsCollector(context), DriftCollector(context)
        self._predicts_only = context.settings.role == "predict"
        self.loops: list[Loop] = [self._collector.local_loop]
        if not self._predicts_only:
            self.loops += [*work, *self._leader.loops]

    def start(self, registry: CollectorRegistry) -> None:
        registry.register(LoopsCollector(self.loops))
        if not self._predicts_only:
            self.housekeeper.start()
            for figures in self._figures:
                figures.reports = self._leader.leads
                registry.register(figures)
            self._leader.start()
        for loop in self.loops:
            loop.start()

    def stop(self) -> None:
        """Wait a moment for the running rounds."""
        stop_all(self.loops)

    def close(self) -> None:
        """Close what the loops use. Statements that still wait are aborted first."""
        self._leader.close()
        self._collector.close()
        self.housekeeper.close()
        for figures in self._figures:
            figures.close()
