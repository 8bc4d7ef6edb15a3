"""Background loops: publish queued jobs and batches, and requeue those of dead workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from app.jobs.lifecycle.outbox import Outbox
from app.jobs.lifecycle.reaper import Reaper
from app.kit.background_loop import Loop
from app.kit.broker import RUN_JOB, celery_app
from app.kit.context import Context
from app.kit.pools import queue_of
from app.leased.kind import Kind

if TYPE_CHECKING:
    from celery import Celery

_log = structlog.get_logger(__name__)
_ONE_RETRY = {"max_retries": 1, "interval_start": 0}  # on a new connection; the loop retries later


class Housekeeper:
    """Run outbox and reaper, each in its own thread: a silent broker must not stop the reaper."""

    def __init__(self, context: Context, *kinds: Kind[Any]) -> None:
        self._celery: Celery | None = (
            celery_app(context.settings) if context.settings.broker_url else None
        )
        self._reapers = [Reaper(context, kind) for kind in kinds]
        self._outbox = Outbox(context, self._send, self._waiting)
        seconds = context.settings.housekeeping_seconds
        self._reaping = Loop("reaper", self._reap, seconds)
        self._relaying = Loop("outbox", self._outbox.relay, seconds)
        self.loops = [self._reaping] if self._celery is None else [self._reaping, self._relaying]

    def start(self) -> None:
        """Warn if nothing can be published. The loops are started by their owner."""
        if self._celery is None:
            _log.warning("DSPT_BROKER_URL is not set: jobs stay queued. `dspt serve` sets it.")

    def wake(self) -> None:
        """Publish queued jobs and batches at once."""
        self._relaying.wake()

    def close(self) -> None:
        """Close the connections to the broker, once the loops have stopped."""
        if self._celery is not None:
            self._celery.close()

    def _reap(self) -> None:
        if sum(reaper.reap() for reaper in self._reapers):
            self.wake()

    def _send(self, job_id: str, pool: str) -> None:
        assert self._celery is not None
        queue = queue_of(pool)
        self._celery.send_task(RUN_JOB, args=[job_id], queue=queue, retry_policy=_ONE_RETRY)

    def _waiting(self, pool: str) -> int:
        from kombu.exceptions import ChannelError

        assert self._celery is not None
        with self._celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            try:
                declared = connection.default_channel.queue_declare(queue_of(pool), passive=True)
                return int(declared[1])
            except ChannelError:  # the queue does not exist yet, or any more
                return 0
