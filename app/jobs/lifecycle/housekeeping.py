"""Background loop: publish queued jobs and requeue jobs of dead workers."""

from __future__ import annotations

import redis
import structlog
from celery import Celery
from kombu.exceptions import ChannelError
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.lifecycle.outbox import Outbox
from app.jobs.lifecycle.reaper import Reaper
from app.kit.background_loop import Loop
from app.kit.broker import QUEUE, RUN_JOB, celery_app
from app.kit.context import Context

_log = structlog.get_logger(__name__)
_ONE_RETRY = {"max_retries": 1, "interval_start": 0}  # on a new connection; the loop retries later


class Housekeeper:
    """Run outbox and reaper in a thread; `wake` starts a round at once."""

    def __init__(self, context: Context) -> None:
        self._celery: Celery | None = (
            celery_app(context.settings) if context.settings.broker_url else None
        )
        self._reaper = Reaper(context)
        self._outbox = Outbox(context, self._send, self._waiting)
        self._loop = Loop(
            "housekeeping",
            self._round,
            context.settings.housekeeping_seconds,
            (SQLAlchemyError, BrokerError, redis.RedisError, OSError),
        )

    def start(self) -> None:
        if self._celery is None:
            _log.warning("DSPT_BROKER_URL is not set: jobs stay queued. `dspt serve` sets it.")
        self._loop.start()

    def wake(self) -> None:
        self._loop.wake()

    def stop(self) -> None:
        self._loop.stop()
        if self._celery is not None:
            self._celery.close()

    def _round(self) -> None:
        self._reaper.reap()
        if self._celery is not None:
            self._outbox.relay()

    def _send(self, job_id: str) -> None:
        assert self._celery is not None
        self._celery.send_task(RUN_JOB, args=[job_id], queue=QUEUE, retry_policy=_ONE_RETRY)

    def _waiting(self) -> int:
        assert self._celery is not None
        with self._celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            try:
                return int(connection.default_channel.queue_declare(QUEUE, passive=True)[1])
            except ChannelError:  # the queue does not exist yet, or any more
                return 0
